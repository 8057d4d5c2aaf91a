"""What of an evaluation a person is shown first: the split's type has decided what was measured."""

from collections.abc import Mapping
from typing import Any

from cohort.reporting.formatting import number, percent

ACCURACY, MAP = "accuracy", "map"


def headline(row: Mapping[str, Any], prefix: str = "") -> str:
    """The measurement by which a row is judged: mAP where people are found again, else accuracy.

    Example:
        >>> headline({"nll": 1.0}), headline({"test_map": 0.5}, "test_")
        ('accuracy', 'map')
    """
    return MAP if prefix + MAP in row else ACCURACY


def in_short(row: Mapping[str, Any]) -> str:
    """The measurements of an evaluation for a line.

    Example:
        >>> in_short({"map": 0.5, "rank1": 0.75}), in_short({"accuracy": 0.5, "nll": 1.25})
        ('mAP 50.0 % rank-1 75.0 %', 'acc 50.0 % nll 1.250')
    """
    if headline(row) == MAP:
        return f"mAP {percent(row.get(MAP))} % rank-1 {percent(row.get('rank1'))} %"
    return f"acc {percent(row.get(ACCURACY))} % nll {number(row.get('nll'))}"
