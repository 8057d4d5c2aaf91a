"""One analysis each: what is measured of every student, pooled over students and seeds, and drawn.

Each has a ``TITLE``, and ``analyse``, from runs to figures with captions and rows of a table.
"""
