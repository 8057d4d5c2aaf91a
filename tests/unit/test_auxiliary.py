"""Auxiliary heads of torchvision's Inceptions: there in training, as torchvision has them, and not kept."""

import copy

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from cohort import CohortConfig, SelfDistillConfig, load_student, resume, self_distill
from cohort.data.registry import load_dataset
from cohort.jobs.self_distill.config import resolve
from cohort.jobs.self_distill.run import prepare_job
from cohort.learning.beside_heads import TrainedWithHeads
from cohort.learning.beside_teacher import AllExits
from cohort.learning.build import build_learner
from cohort.learning.evaluation import log_posterior_over
from cohort.learning.learner import ADAPTERS_FILE, WEIGHTS_FILE
from cohort.models.auxiliary import auxiliary_of
from cohort.models.normalised import Normalised
from cohort.models.spec import WithExits
from cohort.objectives.auxiliary import BesideHeads, WithAuxiliary
from cohort.objectives.mutual import MutualLearning
from cohort.reporting.records import read_metrics
from cohort.runtime.assembly import parameters_of
from tests.support.learners import CPU, plan_of

PICTURES = {
    "dataset": "synthetic", "image_size": 32, "train_subset": 24, "test_subset": 4, "batch_size": 4,
    "threads": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def pictures():
    return load_dataset(CohortConfig(**PICTURES), seed=0)


def learner_of(pictures, network="googlenet", **objective):
    plan = plan_of(pictures, batch_size=4)
    return build_learner(
        network, plan, pictures, MutualLearning(**objective), student=1, device=CPU
    )


# The objective, by hand


def test_value_and_gradient_by_hand():
    """Two classes, two pictures, logits whose softmax is known."""
    main = torch.tensor([[0.0, 0.0], [0.0, 0.0]], requires_grad=True)
    one = torch.log(torch.tensor([[1.0, 3.0], [1.0, 3.0]])).requires_grad_()
    other = torch.log(torch.tensor([[1.0, 1.0], [9.0, 1.0]])).requires_grad_()
    labels = torch.tensor([1, 0])
    objective = WithAuxiliary(main=MutualLearning(teacher="none"), weight=0.3)
    loss, measured = objective.loss(BesideHeads(main, (one, other)), labels)
    ce_main = torch.log(torch.tensor(2.0))
    ce_one = -(torch.log(torch.tensor(0.75)) + torch.log(torch.tensor(0.25))) / 2
    ce_other = -(torch.log(torch.tensor(0.5)) + torch.log(torch.tensor(0.9))) / 2
    torch.testing.assert_close(loss, ce_main + 0.3 * (ce_one + ce_other))
    torch.testing.assert_close(measured["loss"], loss.detach())
    torch.testing.assert_close(measured["ce"], ce_main)
    torch.testing.assert_close(measured["ce_auxiliary"], (ce_one + ce_other) / 2)
    loss.backward()
    torch.testing.assert_close(main.grad, torch.tensor([[0.5, -0.5], [-0.5, 0.5]]) / 2)
    torch.testing.assert_close(one.grad, 0.3 * torch.tensor([[0.25, -0.25], [-0.75, 0.75]]) / 2)
    torch.testing.assert_close(other.grad, 0.3 * torch.tensor([[0.5, -0.5], [-0.1, 0.1]]) / 2)


def test_labels_of_all_are_smoothed_alike():
    logits, labels = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([0])
    objective = WithAuxiliary(main=MutualLearning(), weight=1.0, label_smoothing=0.3)
    loss, measured = objective.loss(BesideHeads(logits, (logits,)), labels)
    log_p = logits.log_softmax(1)[0]
    expected = -(0.8 * log_p[0] + 0.1 * log_p[1] + 0.1 * log_p[2])
    torch.testing.assert_close(measured["ce"], expected)
    torch.testing.assert_close(loss, 2 * expected)


def test_peers_teach_and_see_the_network_alone():
    torch.manual_seed(0)
    main, head, peer = torch.randn(3, 4, 5)
    labels, peers = torch.tensor([0, 1, 2, 3]), [peer.log_softmax(1)]
    mutual = MutualLearning(temperature=2.0)
    with_heads = WithAuxiliary(main=mutual, weight=0.3)
    loss, measured = with_heads.loss(BesideHeads(main, (head,)), labels, peers)
    alone, of_main = mutual.loss(main, labels, peers)
    torch.testing.assert_close(loss, alone + 0.3 * F.cross_entropy(head, labels))
    assert {key: measured[key] for key in ("ce", "kl", "accuracy", "entropy")} == {
        key: of_main[key] for key in ("ce", "kl", "accuracy", "entropy")
    }
    assert torch.equal(with_heads.posterior(BesideHeads(main, (head,))), mutual.posterior(main))


# The heads


@pytest.mark.parametrize(
    ("name", "given", "weight", "shape"),
    [
        ("googlenet", ("logits", "aux_logits1", "aux_logits2"), 0.3, (3, 64, 64)),
        ("inception_v3", ("logits", "aux_logits"), 0.4, (3, 299, 299)),
    ],
)
def test_in_training_it_is_torchvisions_network_with_them(name, given, weight, shape):
    """The same outputs and gradients, without dropout, which draws in another order."""
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(
        name, weights=None, num_classes=5, aux_logits=True, init_weights=False
    )
    ours = copy.deepcopy(theirs)
    auxiliary = auxiliary_of(name, shape)
    heads = nn.ModuleList([ours.get_submodule(head) for head in auxiliary.names])
    for head in auxiliary.names:
        setattr(ours, head, None)
    ours.aux_logits = False
    for module in (*theirs.modules(), *ours.modules(), *heads.modules()):
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    trained = TrainedWithHeads(
        Normalised(ours, (0.0,) * 3, (1.0,) * 3), auxiliary.places, heads, auxiliary.weight
    )
    images, labels = torch.rand(3, *shape), torch.tensor([1, 3, 0])
    outputs, expected = trained(images), theirs(images)
    wanted = [getattr(expected, key) for key in given]
    for own_BC, their_BC in zip([outputs.logits_BC, *outputs.heads], wanted, strict=True):
        torch.testing.assert_close(own_BC, their_BC)
    assert trained.weight == weight
    if name == "inception_v3":  # a backward pass of which takes long
        return
    objective = WithAuxiliary(main=MutualLearning(teacher="none"), weight=trained.weight)
    objective.loss(outputs, labels)[0].backward()
    main, *others = (F.cross_entropy(logits.float(), labels) for logits in wanted)
    (main + 0.3 * sum(others)).backward()
    gradients = {key: parameter.grad for key, parameter in theirs.named_parameters()}
    for key, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[key], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "size", "heads"),
    [
        ("googlenet", (224, 224), 2),
        ("googlenet", (32, 64), 2),
        ("inception_v3", (299, 299), 1),
        ("inception_v3", (299, 298), 0),  # their maps are too small for its head
        ("resnet8", (224, 224), 0),
        ("googlenet+exits=inception4a", (224, 224), 0),
        (WithExits("googlenet", ("inception4a",)), (224, 224), 0),
        (torchvision.models.googlenet, (224, 224), 0),
    ],
)
def test_who_has_heads(network, size, heads):
    found = auxiliary_of(network, (3, *size))
    assert (0 if found is None else len(found.places)) == heads


def test_heads_change_neither_the_students_start_nor_what_is_evaluated(pictures):
    learner = learner_of(pictures)
    alone = learner_of(pictures, network=bare)
    ours, theirs = (learner.network.network, alone.network.network)
    assert all(
        torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True)
    )
    assert not any("aux" in key.lower() for key in learner.network.state_dict())
    images, _ = learner.source.batch(0)
    answers, expected = (
        log_posterior_over(each.network, pictures.test, CPU) for each in (learner, alone)
    )
    assert torch.equal(answers, expected)
    learner.network.eval()
    assert learner.network(images).shape == (4, pictures.num_classes)


def bare(num_classes):
    """The same without heads."""
    return torchvision.models.googlenet(
        weights=None, num_classes=num_classes, aux_logits=False, init_weights=True
    ).to(memory_format=torch.channels_last)


def test_memory_is_asked_for_heads_too(pictures):
    alone, whole = parameters_of(bare, pictures), parameters_of("googlenet", pictures)
    theirs = torchvision.models.googlenet(weights=None, num_classes=10, init_weights=False)
    assert whole == sum(p.numel() for p in theirs.parameters())
    assert alone < whole


def test_a_snapshot_has_the_heads_and_goes_on_bit_for_bit(pictures):
    learner = learner_of(pictures)
    _steps(learner, 0, 2)
    files = learner.snapshot()
    assert ADAPTERS_FILE in files
    _steps(learner, 2, 3)
    other = learner_of(pictures)
    other.restore(files)
    _steps(other, 2, 3)
    assert other.snapshot()[WEIGHTS_FILE] == learner.snapshot()[WEIGHTS_FILE]
    assert other.snapshot()[ADAPTERS_FILE] == learner.snapshot()[ADAPTERS_FILE]


def _steps(learner, start, stop):
    for step in range(start, stop):
        learner.predict(step)
        learner.learn(step)


def test_a_run_has_them_in_its_records_and_not_in_its_student(tmp_path):
    config = SelfDistillConfig(
        **PICTURES, model="googlenet", method="none", workers=0, epochs=1, steps=1, log_every=1,
        run_dir=str(tmp_path / "run"),
    )  # fmt: skip
    self_distill(config)
    resume(tmp_path / "run", given={"steps": 2})
    records = list(read_metrics(tmp_path / "run/metrics.jsonl"))
    trained = [record for record in records if record["phase"] == "train"]
    assert [record["step"] for record in trained] == [1, 2]
    for record in trained:
        whole = record["ce"] + 2 * 0.3 * record["ce_auxiliary"]
        assert record["loss"] == pytest.approx(whole, rel=1e-5)
    assert not any("ce_auxiliary" in record for record in records if record["phase"] == "test")
    load_student(tmp_path / "run/students/0")


def test_a_method_with_exits_has_none():
    values = {**PICTURES, "model": "googlenet", "exits": "inception4a", "method": "byot"}
    job = prepare_job(resolve(SelfDistillConfig(**values, epochs=1)))
    assert isinstance(job.training_module(job.student()), AllExits)
