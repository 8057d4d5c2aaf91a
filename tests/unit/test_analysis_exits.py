"""Every exit and ensembles of them, and the early-exit curve against example-by-example exits."""

import pytest
import torch

from cohort.analysis.cost import exit_costs
from cohort.analysis.early_exit import early_exit_curve, first_confident
from cohort.analysis.exits import check_weights, report_exits
from cohort.errors import ConfigError
from cohort.learning.evaluation import log_posterior_over, log_posteriors_over
from cohort.metrics.classification import accuracy, evaluate_posterior
from tests.support.exits import IMAGE_SHAPE, tiny_student
from tests.support.splits import random_split

CPU = torch.device("cpu")
SPLIT = random_split(60)
LABELS = torch.from_numpy(SPLIT.labels)
IMAGES = torch.from_numpy(SPLIT.images).float() / 255


@pytest.fixture(scope="module")
def student():
    return tiny_student()


def posteriors(student):
    with torch.no_grad():
        return [student.exit_alone(exit)(IMAGES).softmax(1) for exit in (1, 2, 3)]


def evaluate_exits(student, weights=None):
    return report_exits(log_posteriors_over(student, SPLIT, CPU), LABELS, weights)


def scores(posterior):
    return pytest.approx(evaluate_posterior(posterior.log(), LABELS), rel=1e-4, abs=1e-6)


def test_every_exit_and_the_ensembles(student):
    one, two, three = posteriors(student)
    report = evaluate_exits(student, weights=[0, 2, 6])
    assert list(report.exits) == [scores(one), scores(two), scores(three)]
    assert report.ensemble == scores((one + two + three) / 3)
    assert report.weighted == scores(0.25 * two + 0.75 * three)
    assert report.weights == (0, 2, 6)
    assert len({row["nll"] for row in (*report.exits, report.ensemble, report.weighted)}) == 5


def test_the_deepest_three_of_four(student):
    four = [posterior.log() for posterior in (*posteriors(student)[::-1], posteriors(student)[1])]
    report = report_exits(four, LABELS)
    assert report.deepest == scores(sum(log.exp() for log in four[1:]) / 3)
    assert report.deepest != report.ensemble
    assert report.weights is report.weighted is None


def test_the_deepest_exit_is_what_calling_the_student_gives(student):
    deepest = log_posteriors_over(student, SPLIT, CPU)[-1]
    torch.testing.assert_close(deepest, log_posterior_over(student, SPLIT, CPU))


@pytest.mark.parametrize(
    "weights", [[1, 1], [1] * 4, [], [0, 0, 0], [1, -1, 1], [1, float("nan"), 1], [1, 1e999, 1]]
)
def test_weights_that_make_no_mean_are_refused_in_a_sentence(student, weights):
    with pytest.raises(ConfigError) as caught:
        evaluate_exits(student, weights=weights)
    message = str(caught.value)
    shown = ",".join(f"{weight:g}" for weight in weights)
    assert message.startswith(f"--ensemble-weights is {shown}; it must be 3 numbers")
    assert "\n" not in message


def test_weights_that_do():
    check_weights([0, 0, 1e-300], 3)


@pytest.mark.parametrize("threshold", [0, 0.3, 0.6, 0.9, 0.99, 1])
def test_the_curve_is_what_until_confident_does(student, threshold):
    with torch.no_grad():
        left = student.until_confident(IMAGES, threshold)
    (point,) = early_exit_curve(student, SPLIT, [threshold], CPU)
    assert point.accuracy == pytest.approx(accuracy(left.logits_BC, LABELS))
    shares = [float((left.exits_B == exit).double().mean()) for exit in (1, 2, 3)]
    assert point.share_per_exit == pytest.approx(tuple(shares))
    # An example pays for every branch and classifier on its way (counts: numerics/test_cost.py).
    paid = [2304 + 832 + 40, 5760 + 1152 + 80, 7488 + 1152 + 120]
    mean = sum(share * cost for share, cost in zip(shares, paid, strict=True))
    assert point.mean_multiply_adds == pytest.approx(mean)


def test_the_ends_of_the_curve(student):
    costs = exit_costs(student, IMAGE_SHAPE)
    first, middle, last = early_exit_curve(student, SPLIT, [0, 0.6, 1], CPU)
    assert first.share_per_exit == (1, 0, 0)
    assert first.mean_multiply_adds == costs[0].multiply_adds
    assert all(middle.share_per_exit), "some are to leave at every exit at this threshold"
    assert last.share_per_exit == (0, 0, 1)
    assert last.mean_multiply_adds > costs[-1].multiply_adds
    deepest = evaluate_exits(student).exits[-1]["accuracy"]
    assert last.accuracy == pytest.approx(deepest)


def test_the_first_that_is_confident():
    sure = torch.tensor([[0.5, 0.9, 0.6], [0.9, 0.9, 0.7], [0.6, 0.6, 0.6]])  # [exit, example]
    posterior = torch.stack([sure, 1 - sure], dim=2)
    assert first_confident(posterior, 0.8).tolist() == [1, 0, 2]
    assert first_confident(posterior, float(sure[1, 2])).tolist() == [1, 0, 1]  # at least
