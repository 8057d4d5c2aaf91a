"""A batch ensemble learns its fast weights at half the learning rate, and answers by its members' mean."""

import pytest
import torch

from cohort.data.registry import load_dataset
from cohort.learning.learner import Learner
from cohort.learning.plan import plan_training
from cohort.learning.schedule import learning_rate
from cohort.models.member_layers import fast_weights
from cohort.models.registry import build_student
from cohort.objectives.mutual import MutualLearning
from cohort.runtime.config import CohortConfig, resolve


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(CohortConfig(train_subset=80, test_subset=40), seed=0)


def learner(dataset, **options):
    options = {"batch_size": 16, "epochs": 10, "lr": 0.1, "weight_decay": 0.01, **options}
    plan = plan_training(resolve(CohortConfig(**options)), len(dataset.train))
    student = build_student(
        "resnet8+members=2", num_classes=10, image_shape=dataset.image_shape, mean=dataset.mean,
        std=dataset.std, seed=0, student=0,
    )  # fmt: skip
    return Learner(student, plan, dataset, MutualLearning(teacher="none"), student=0)


def test_a_step_by_hand(dataset):
    """First step of SGD with Nesterov momentum 0.9: w - 1.9 lr (gradient + decay w)."""
    one = learner(dataset, optimizer="sgd", lr_schedule="constant")
    before = [parameter.detach().clone() for parameter in one.network.parameters()]
    one.predict(0)
    one.learn(0)
    fast = {id(weight) for weight in fast_weights(one.network)}
    assert len(fast) == 16
    for old, new in zip(before, one.network.parameters(), strict=True):
        lr, decay = (0.05, 0.0) if id(new) in fast else (0.1, 0.01)
        assert new.grad.abs().max() > 0
        torch.testing.assert_close(new.detach(), old - 1.9 * lr * (new.grad + decay * old))


def test_the_schedule_is_halved_too_and_after_a_restart(dataset):
    one = learner(dataset, lr_schedule="cosine")
    for step in range(3):
        one.predict(step)
        one.learn(step)
    other = learner(dataset, lr_schedule="cosine")
    other.restore(one.snapshot())
    for each in (one, other):
        each.predict(3)
        each.learn(3)
        rates = [group["lr"] for group in each.optimizer.param_groups]
        rate = learning_rate(each.plan, 3)
        assert rates == [rate, 0.5 * rate]
        assert rates[0] < 0.1
    for mine, theirs in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_it_answers_by_its_members_mean(dataset):
    one = learner(dataset)
    parts = one.answers_over(dataset.test)
    assert len(parts) == 2
    mean_NC = (parts[0].exp() + parts[1].exp()) / 2
    torch.testing.assert_close(one.answer_over(dataset.test).exp(), mean_NC)
    assert (parts[0] - parts[1]).abs().max() > 0.01
