"""Numbers as people read them; what is missing or not finite is a dash."""

import math
from datetime import timedelta
from typing import TypeGuard

DASH = "–"
WIDEST = 12
"""Characters of a number with a fraction: one of more, as the loss of weights gone astray, is shortened."""
LONGEST_SECONDS = 1e12
"""Some thirty thousand years: what takes longer is not told in days."""


def number(value: float | None, form: str = ".3f") -> str:
    """A number in Python's format language.

    Example:
        >>> number(0.12345), number(464154, ",d"), number(None)
        ('0.123', '464,154', '–')
        >>> number(1e300)
        '1e+300'
    """
    if value is None or not _is_finite(value):
        return DASH
    text = format(value, form)
    if len(text) <= WIDEST or isinstance(value, int):
        return text
    return format(value, "+.3g" if form.startswith("+") else ".3g")


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
    if seconds is None or not _is_finite(seconds) or seconds > LONGEST_SECONDS:
        return DASH
    return str(timedelta(seconds=round(seconds)))


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a finite number, and no yes or no: files may hold anything."""
    return isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of more digits than a float holds
        return False
