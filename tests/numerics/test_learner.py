"""The learner's step, its state, its random numbers, and losses that are not finite."""

import copy
import dataclasses
import math
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cohort.learning.learner import Learner, NonFiniteLossError
from cohort.learning.student_files import weights_sha256
from cohort.models.registry import normalised
from cohort.objectives.mutual import MutualLearning
from tests.support.learners import digits as digits
from tests.support.learners import learner_of, plan_of, run, small, with_dropout


def partly_frozen(num_classes):
    """A user's pretrained front: its batch norm in evaluation mode, for ever."""

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.front = nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.BatchNorm2d(8))
            self.back = nn.Sequential(nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(72, num_classes))
            self.front.requires_grad_(False)
            self.front.eval()

        def train(self, mode=True):
            super().train(mode)
            self.front.eval()
            return self

        def forward(self, x):
            return self.back(self.front(x))

    return Network()


def state_of(learner):
    return copy.deepcopy((learner.network.state_dict(), learner.optimizer.state_dict()))


def assert_same(a, b):
    """Equal to the last bit, in any nesting of dicts and lists."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    else:
        assert a == b


# Evaluation


def test_batch_norm_learns_again_after_evaluation(digits):
    learner = learner_of(digits)
    run(learner, range(2))
    learner.answer_over(digits.test)
    assert all(module.training for module in learner.network.modules())
    norm = next(m for m in learner.network.modules() if isinstance(m, nn.BatchNorm2d))
    before = norm.running_mean.clone()
    run(learner, [2])
    assert not torch.equal(norm.running_mean, before)


def test_a_frozen_part_stays_frozen(digits):
    learner = learner_of(digits, partly_frozen)
    front, back = learner.network.network.front[1], learner.network.network.back[0]
    before = front.running_mean.clone(), back.running_mean.clone()
    run(learner, range(2))
    learner.answer_over(digits.test)
    assert (front.training, back.training) == (False, True)
    run(learner, range(2, 4))
    assert torch.equal(front.running_mean, before[0])
    assert not torch.equal(back.running_mean, before[1])


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_evaluation_changes_nothing(digits, optimizer):
    learner = learner_of(digits, optimizer=optimizer, lr=1e-3)
    run(learner, range(2))
    before = state_of(learner)
    first, second = (learner.answer_over(digits.test) for _ in range(2))
    assert_same(state_of(learner), before)
    assert torch.equal(first, second)
    assert first.shape == (40, 10)
    torch.testing.assert_close(first.exp().sum(1), torch.ones(40))


def test_evaluation_between_steps_does_not_change_training(digits):
    plain, watched = learner_of(digits, with_dropout), learner_of(digits, with_dropout)
    run(plain, range(4))
    for step in range(4):
        watched.answer_over(digits.test)
        watched.predict(step)
        watched.answer_over(digits.test)  # even here, while a graph waits
        watched.learn(step)
    assert_same(state_of(watched), state_of(plain))


def test_evaluation_is_at_temperature_1_and_by_running_statistics(digits):
    learner = learner_of(digits, objective=MutualLearning(temperature=4.0))
    run(learner, range(2))
    reference = copy.deepcopy(learner.network).eval()
    images = torch.from_numpy(digits.test.images).float() / 255
    with torch.no_grad():
        expected = F.log_softmax(reference(images), 1)
    torch.testing.assert_close(learner.answer_over(digits.test), expected)


# Random numbers


def test_dropout_depends_on_seed_student_and_step_alone(digits):
    first, again = (learner_of(digits, with_dropout) for _ in range(2))
    posterior = first.predict(3)
    torch.rand(7)  # whatever else draws random numbers
    again.predict(1)
    assert torch.equal(again.predict(3), posterior)
    again.student = 1
    assert not torch.equal(again.predict(3), posterior)
    again.student, again.plan = 0, dataclasses.replace(again.plan, seed=1)
    assert not torch.equal(again.predict(3), posterior)


def test_every_student_sees_the_same_batch_and_starts_elsewhere(digits):
    one, two = (learner_of(digits, student=student) for student in (0, 1))
    assert_same(one.source.batch(5), two.source.batch(5))
    assert weights_sha256(one.network) != weights_sha256(two.network)
    assert weights_sha256(one.network) == weights_sha256(learner_of(digits).network)


# State


@pytest.mark.parametrize("options", [{"optimizer": "sgd"}, {"optimizer": "adam", "lr": 1e-3}])
@pytest.mark.parametrize("network", [small, with_dropout])
def test_restored_in_the_middle_equals_undisturbed(digits, network, options):
    peer = F.log_softmax(torch.randn(16, 10, generator=torch.Generator().manual_seed(0)), 1)
    undisturbed = learner_of(digits, network, lr_schedule="cosine", **options)
    run(undisturbed, range(9), peer=peer)

    killed = learner_of(digits, network, lr_schedule="cosine", **options)
    run(killed, range(4), peer=peer)
    files = killed.snapshot()
    run(killed, range(4, 6), peer=peer)  # lost
    resumed = learner_of(digits, network, lr_schedule="cosine", **options)
    for learner in (killed, resumed):  # the same process rolled back, and a new one
        learner.restore(files)
        run(learner, range(4, 9), peer=peer)
        assert_same(state_of(learner), state_of(undisturbed))
        assert learner.snapshot() == undisturbed.snapshot()


def test_restoring_the_weights_alone_would_not_do(digits):
    """The test above can fail: momentum matters after four steps."""
    undisturbed = learner_of(digits, small)
    run(undisturbed, range(4))
    weights_only = learner_of(digits, small)
    weights_only.network.load_state_dict(undisturbed.network.state_dict())
    for learner in (undisturbed, weights_only):
        run(learner, [4])
    assert weights_sha256(undisturbed.network) != weights_sha256(weights_only.network)


def test_a_restored_learner_has_forgotten_what_waited(digits):
    learner = learner_of(digits, small)
    files = learner.snapshot()
    learner.predict(0)
    learner.restore(files)
    with pytest.raises(AssertionError, match="without a prediction"):
        learner.learn(0)
    assert learner.windows.drain() == []


def test_the_state_is_files_without_pickled_code(digits):
    learner = learner_of(digits, small)
    run(learner, range(1))
    assert sorted(learner.snapshot()) == ["model.safetensors", "optimizer.pt"]


# The order of calls


def test_learning_needs_the_prediction_of_its_step(digits):
    learner = learner_of(digits, small)
    with pytest.raises(AssertionError, match=r"learn\(0\) without a prediction"):
        learner.learn(0)
    learner.predict(0)
    with pytest.raises(AssertionError, match=r"learn\(1\) after predict\(0\)"):
        learner.learn(1)
    with pytest.raises(AssertionError, match="between predict and learn"):
        learner.snapshot()
    learner.learn(0)
    with pytest.raises(AssertionError, match="without a prediction"):
        learner.learn(0)


def test_the_learning_rate_warms_up(digits):
    learner = learner_of(digits, small, lr_schedule="thirds", warmup_epochs=2, lr=0.3)
    rates = []
    for step in range(35):
        run(learner, [step])
        rates.append(learner.optimizer.param_groups[0]["lr"])
    warm_up = [0.3 * (0.01 + 0.99 * step / 10) for step in range(10)]
    assert rates == pytest.approx(warm_up + [0.3] * 7 + [0.03] * 16 + [0.003] * 2)


# The keys of a step


@pytest.mark.parametrize("share", [0.25, 1.0, 4.0])
def test_a_gradient_longer_than_the_norm_is_scaled_down_to_it(digits, share):
    """First step of SGD with Nesterov momentum 0.9: w - 1.9 lr (gradient * min(1, X / norm) + decay w)."""
    keys = {"lr": 0.1, "weight_decay": 0.01, "optimizer": "sgd", "lr_schedule": "constant"}
    free = learner_of(digits, small, **keys)
    before = [p.detach().clone() for p in free.network.parameters()]
    run(free, [0])
    gradients = [p.grad.clone() for p in free.network.parameters()]
    norm = math.sqrt(sum(float((gradient.double() ** 2).sum()) for gradient in gradients))
    clipped = learner_of(digits, small, clip_grad_norm=share * norm, **keys)
    run(clipped, [0])
    for old, new, gradient in zip(before, clipped.network.parameters(), gradients, strict=True):
        expected = old - 1.9 * 0.1 * (min(1.0, share) * gradient + 0.01 * old)
        torch.testing.assert_close(new.detach(), expected)


def test_adapters_are_clipped_with_the_network(digits):
    network = normalised(small(10), digits.mean, digits.std)
    beside = nn.ModuleDict({"student": network, "regressors": nn.Linear(10, 10)})
    beside.forward = lambda x: beside["regressors"](beside["student"](x))
    learner = Learner(
        network, plan_of(digits, clip_grad_norm=1e-3), digits, MutualLearning(teacher="none"),
        student=0, forward=beside, adapters=beside["regressors"],
    )  # fmt: skip
    run(learner, [0])
    squares = [float((p.grad.double() ** 2).sum()) for p in beside.parameters()]
    assert math.sqrt(sum(squares)) == pytest.approx(1e-3, rel=1e-4)
    assert all(square > 0 for square in squares)


def test_labels_are_smoothed_in_training_and_not_in_evaluation(digits):
    """0.7 CE(label) + 0.3 of the mean CE of all classes."""
    plain, smoothed = (
        learner_of(digits, small, label_smoothing=e, log_every=1) for e in (0.0, 0.3)
    )
    before = [learner.answer_over(digits.test) for learner in (plain, smoothed)]
    assert torch.equal(*before)
    _, labels = smoothed.source.batch(0)
    posterior = smoothed.predict(0)
    smoothed.learn(0)
    (measured,) = smoothed.windows.drain()
    expected = 0.7 * -posterior[range(16), labels].mean() + 0.3 * -posterior.mean()
    assert measured["loss"] == measured["ce"] == pytest.approx(expected.item(), rel=1e-5)


# Losses that are not finite


def test_a_gradient_that_is_not_finite_is_not_clipped_to_nothing(digits):
    """d sqrt(|p|) / dp at 0 is NaN, though the loss is finite."""

    class Steep(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers, self.p = small(10), nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return self.layers(x) + self.p.abs().sqrt()

    learner = learner_of(digits, lambda num_classes: Steep(), student=2, clip_grad_norm=1.0)
    learner.predict(0)
    before = [p.detach().clone() for p in learner.network.parameters()]
    with pytest.raises(NonFiniteLossError, match="student 2: the loss is not finite at step 0"):
        learner.learn(0)
    assert_same([p.detach() for p in learner.network.parameters()], before)


def test_a_loss_that_is_not_finite_names_student_and_step_and_changes_no_weight(digits):
    learner = learner_of(digits, small, student=3)
    run(learner, range(2))
    parameters = [p.detach().clone() for p in learner.network.parameters()]
    optimizer = copy.deepcopy(learner.optimizer.state_dict()["state"])
    learner.predict(2)
    with pytest.raises(
        NonFiniteLossError, match="student 3: the loss is not finite at step 2"
    ) as caught:
        learner.learn(2, [torch.full((16, 10), math.nan)])
    assert_same([p.detach() for p in learner.network.parameters()], parameters)
    assert_same(learner.optimizer.state_dict()["state"], optimizer)
    copied = pickle.loads(pickle.dumps(caught.value))
    assert type(copied) is NonFiniteLossError
    assert str(copied) == str(caught.value)
    assert (copied.student, copied.order) == (3, 5)


def test_the_one_whose_own_posterior_is_not_finite_comes_before_those_it_spoils(digits):
    learner = learner_of(digits, small, student=1)
    run(learner, range(2))
    files = learner.snapshot()
    with torch.no_grad():
        next(learner.network.parameters()).fill_(math.nan)
    with pytest.raises(NonFiniteLossError, match=r"student 1: .* step 2") as caught:
        learner.predict(2)
    assert caught.value.order == 4  # its peers' losses at step 2 have 5
    learner.restore(files)
    run(learner, range(2, 4))


def test_an_exploding_run_is_stopped(digits):
    learner = learner_of(digits, small, lr=1e30, lr_schedule="constant")
    with pytest.raises(NonFiniteLossError, match="student 0: the loss is "):
        run(learner, range(10))


@pytest.mark.parametrize(
    ("student", "network"), [(0, "resnet8+exits"), (1, "resnet8+exits=stages.1")]
)
def test_a_student_with_exits_has_the_mutual_loss_and_its_exits_losses(digits, student, network):
    """CE + KL(peer ‖ deepest) of the deepest, and of each shallow exit its terms, term by term."""
    learner = learner_of(digits, network, student=student, log_every=1)
    network = copy.deepcopy(learner.network).train()
    images, labels = learner.source.batch(0)
    peer = torch.randn(len(labels), 10, generator=torch.Generator().manual_seed(5)).log_softmax(1)
    posterior = learner.predict(0)
    learner.learn(0, [peer])
    outputs = network.outputs(images)
    *shallow, deepest = outputs.logits
    assert torch.equal(posterior, deepest.log_softmax(1).detach())
    expected = F.cross_entropy(deepest, labels)
    expected += F.kl_div(deepest.log_softmax(1), peer.exp(), reduction="batchmean")
    taught = (deepest / 3).softmax(1)
    for logits, features in zip(shallow, outputs.features[:-1], strict=True):
        divergence = F.kl_div((logits / 3).log_softmax(1), taught, reduction="batchmean")
        expected += 0.7 * F.cross_entropy(logits, labels) + 0.3 * 9 * divergence
        expected += 0.03 * (features - outputs.features[-1]).square().sum(1).mean()
    (record,) = learner.windows.drain()
    assert record["loss"] == pytest.approx(expected.item(), rel=1e-5)
