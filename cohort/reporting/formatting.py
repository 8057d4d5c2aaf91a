"""Numbers as people read them; what is missing or not finite is a dash."""

import math
from datetime import timedelta

DASH = "–"


def number(value: float | None, form: str = ".3f") -> str:
    """A number in Python's format language.

    Example:
        >>> number(0.12345), number(464154, ",d"), number(None)
        ('0.123', '464,154', '–')
    """
    return DASH if value is None or not math.isfinite(value) else format(value, form)


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction as a number of percent, without the sign.

    Example:
        >>> percent(0.6123)
        '61.2'
    """
    return DASH if fraction is None else number(100 * fraction, f".{digits}f")


def duration(seconds: float | None) -> str:
    """Hours, minutes and seconds.

    Example:
        >>> duration(100)
        '0:01:40'
    """
    if seconds is None or not math.isfinite(seconds):
        return DASH
    return str(timedelta(seconds=round(seconds)))
