"""The learning rate by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohort.learning import schedule as schedules
from tests.support.learners import bare_plan

EPOCH = 781
"""Steps of CIFAR at batch 64."""


def learning_rate(lr, lr_schedule, steps, warmup_steps=0):
    """The rate as a function of the step."""
    plan = bare_plan(lr=lr, lr_schedule=lr_schedule, steps=steps, warmup_steps=warmup_steps)
    return lambda step: schedules.learning_rate(plan, step)


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [(0, 0.1), (59, 0.1), (60, 0.01), (119, 0.01), (120, 1e-3), (179, 1e-3), (180, 1e-4)],
)
def test_step_of_the_paper(epoch, rate):
    at = learning_rate(0.1, "step", 200 * EPOCH)
    assert at(epoch * EPOCH) == pytest.approx(rate)
    assert at(epoch * EPOCH + EPOCH - 1) == pytest.approx(rate)


@pytest.mark.parametrize("epoch", [60, 120, 180])
def test_step_changes_exactly_between_two_epochs(epoch):
    at = learning_rate(0.1, "step", 200 * EPOCH)
    assert at(epoch * EPOCH) == pytest.approx(at(epoch * EPOCH - 1) / 10)


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [(0, 0.1), (83, 0.1), (84, 0.01), (166, 0.01), (167, 1e-3), (239, 1e-3), (240, 1e-4)],
)
def test_thirds_of_the_self_distillation_authors(epoch, rate):
    """E/3, 2E/3 and E−10 of their 250 epochs, 390 steps each."""
    at = learning_rate(0.1, "thirds", 250 * 390)
    assert at(epoch * 390) == pytest.approx(rate)


@pytest.mark.parametrize("step", [32_500, 65_000, 93_600])
def test_thirds_change_at(step):
    at = learning_rate(0.1, "thirds", 250 * 390)
    assert at(step) == pytest.approx(at(step - 1) / 10)


@pytest.mark.parametrize(
    ("step", "share"), [(0, 1.0), (25, 0.853553), (50, 0.5), (75, 0.146447), (100, 0.0), (101, 0.0)]
)
def test_cosine(step, share):
    assert learning_rate(0.2, "cosine", 100)(step) == pytest.approx(0.2 * share, abs=1e-6)


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [
        (0, 0.05),
        (149, 0.05),
        (150, 0.05),
        (180, 0.037625),
        (210, 0.02525),
        (240, 0.012875),
        (269, 0.0009125),
        (270, 0.0005),
        (299, 0.0005),
        (301, 0.0005),
    ],
)
def test_linear_of_the_ods_authors(epoch, rate):
    """0.05 until epoch 150 of 300, then a straight line to 0.0005 at 270."""
    assert learning_rate(0.05, "linear", 300 * EPOCH)(epoch * EPOCH) == pytest.approx(rate)


def test_linear_falls_by_the_same_amount_each_step():
    at = learning_rate(1.0, "linear", 100)
    falls = [at(step) - at(step + 1) for step in range(100)]
    assert falls == pytest.approx([0.0] * 50 + [0.99 / 40] * 40 + [0.0] * 10)


@given(st.integers(0, 10**6))
def test_constant(step):
    assert learning_rate(0.3, "constant", 100)(step) == 0.3


@pytest.mark.parametrize(("step", "share"), [(0, 0.01), (1, 0.109), (5, 0.505), (9, 0.901)])
def test_warm_up_rises_from_a_hundredth(step, share):
    assert learning_rate(0.2, "cosine", 100, 10)(step) == pytest.approx(0.2 * share)


@given(
    st.sampled_from(["step", "thirds", "linear", "cosine", "constant"]),
    st.integers(1, 500),
    st.integers(0, 500),
    st.integers(0, 600),
)
def test_after_the_warm_up_the_schedule_is_where_it_would_be(schedule, total, warmup, step):
    at = learning_rate(0.1, schedule, total, warmup)
    if step >= warmup:
        assert at(step) == learning_rate(0.1, schedule, total)(step)
    else:
        assert at(step) < at(step + 1) or step + 1 == warmup
        assert 0.001 <= at(step) < 0.1


@given(st.sampled_from(["step", "thirds", "linear", "cosine"]), st.integers(1, 10**6), st.data())
def test_it_never_rises(schedule, total, data):
    at = learning_rate(0.1, schedule, total)
    first = data.draw(st.integers(0, total))
    second = data.draw(st.integers(first, total))
    assert 0.1 >= at(first) >= at(second) >= 0
