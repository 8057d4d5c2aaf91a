"""The file of a study: ``load`` reads and writes it, ``check`` refuses what cannot be done.

Neither torch nor ray. ``reading`` says where in the file something is wrong, ``smoke`` what
``--smoke`` changes; ``check_keys``, ``check_metrics`` and ``check_search`` are parts of ``check``.
"""
