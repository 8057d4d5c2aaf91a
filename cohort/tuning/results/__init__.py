"""The results of a study: ``write`` makes all of them. No ray.

``table`` has a row per trial, ``summary`` a row per point. ``report_figure`` picks from the table
what the report's figure shows, ``plots`` draws it, and ``noise`` measures what one kind of figure
needs. ``naming``: what measurements and points are called.
"""
