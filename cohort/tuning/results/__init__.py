"""The results of a study, no ray: ``write`` makes all of them.

``table`` has a row per trial, ``summary`` a row per point by ``statistics``, ``figure`` draws, and
``noise`` is one kind of figure.
"""
