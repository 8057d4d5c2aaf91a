"""The file of a study: ``load`` reads and writes it, ``check`` refuses what cannot be done.

Neither torch nor ray. ``reading`` knows where a key stands, ``axes`` what an axis looks like,
``smoke`` what ``--smoke`` changes.
"""
