"""The benchmark of ODS distillation: what each method does, and how it is counted and shown."""

import pytest
import torch

from cohort.benchmark.ods.config import METHODS, PARTS, OdsBenchConfig
from cohort.benchmark.ods.measure import Measured, build_steps, count
from cohort.benchmark.ods.results import part_rows, rows
from cohort.errors import ConfigError

SMALL = OdsBenchConfig(model="resnet8", members=3, batch_size=2, image_size=8, classes=5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"image_size": 50_000},
            "--image-size is 50000, of which 64 images would take 1,788.1 GiB",
        ),
        ({"classes": 10**399}, "--classes is a number of 400 digits; it must be at most"),
    ],
)
def test_what_memory_does_not_hold_is_refused(options, words):
    with pytest.raises(ConfigError, match=f"^{words}"):
        OdsBenchConfig(**options)


def test_each_method_does_its_own_arithmetic_and_no_more():
    adds = {m: count(s) for m, s in build_steps(SMALL, torch.device("cpu")).items()}
    forward = adds["single"]["clean"]  # of one network
    assert forward > 0
    for method in METHODS:
        members = 1 if method == "single" else 3
        taught = method not in ("single", "labels")
        assert adds[method]["clean"] == members * forward
        assert adds[method]["teachers"] == (3 * forward if taught else 0)
        moved = method in ("gaussian", "ods", "conf_ods")
        assert adds[method]["perturbed"] == (3 * forward if moved else 0)
        # Forward and the input's gradient, as much again: no gradient of a teacher's weights.
        along = 2 * forward if method in ("ods", "conf_ods") else 0
        assert adds[method]["perturbation"] == along


def test_ratios_are_taken_round_by_round():
    # The machine is ten times slower in the second round, which no ratio may show.
    factors = dict(zip(METHODS, (1, 3, 4, 6, 7, 8), strict=True))
    measured = Measured(
        round_seconds={method: [f, 10.0 * f, f] for method, f in factors.items()},
        part_seconds={part: [1.0, 10.0, 1.0] for part in PARTS},
        multiply_adds={method: dict.fromkeys(PARTS, 10**8) for method in METHODS},
    )
    table = rows(OdsBenchConfig(steps=4), measured)
    for method, factor in factors.items():
        assert table[method]["step_time_vs_single"] == pytest.approx([factor] * 3)
        assert table[method]["step_time_vs_kd"] == pytest.approx([factor / 4] * 3)
        assert table[method]["giga_multiply_adds"] == [0.5]
    assert table["kd"]["step_ms"] == pytest.approx([1000, 1000, 5500])
    assert table["kd"]["ms_per_giga"] == pytest.approx([2000, 2000, 11000])
    parts = part_rows(OdsBenchConfig(steps=4), measured)
    assert parts["clean"]["share"] == pytest.approx([0.2] * 3)
    assert parts["clean"]["ms_per_giga"] == pytest.approx([2500, 2500, 13750])
