"""ODS distillation in this process: who learns from whom, and every way to learn."""

import math

import pytest
import torch

from cohort.data.augment import rows_of
from cohort.learning.data_parallel import Workers
from cohort.learning.lessons import Lessons
from cohort.learning.student_files import weights_sha256
from cohort.seeding import generator
from tests.support.ods_runs import CPU, job, networks, prepared, records_of, taught, the_student
from tests.support.ods_runs import teachers as teachers
from tests.support.recorder import FakeRecorder

# Who learns from whom


def perturbed_by_hand(images, networks, seed=0, step=0):
    """ConfODS at η = 1 and τ = 4 with the authors' norm, written anew from the paper."""
    draw = generator(seed, "perturbing teacher", step)
    teacher = networks[torch.randint(len(networks), (), generator=draw)]
    w = 2 * torch.rand((len(images), 10), generator=generator(seed, "ods", step)) - 1
    x = images.clone().requires_grad_()
    y = (teacher(x) / 4).softmax(1)
    (g,) = torch.autograd.grad((w * y).sum(), x)
    unit = g / g.flatten(1).norm(dim=1)[:, None, None, None]
    confidence = y.detach().max(1).values[:, None, None, None]
    return (images + math.sqrt(images[0].numel()) / 255 * confidence * unit).clamp(0, 1)


@pytest.mark.parametrize(
    ("options", "pairs"),
    [({}, [0, 1, 2]), ({"choose": "2,0,1"}, [2, 0, 1]), ({"choose": "1,2"}, [1, 2])],
)
def test_member_j_learns_from_teacher_j(teachers, options, pairs):
    """The first step's divergence and loss, by hand from outputs on inputs perturbed by hand."""
    students = networks(teachers)
    chosen = [students[number] for number in pairs]
    job = prepared(teachers, **options)
    learner = job.build_learner(Workers(), CPU)
    images, labels = learner.source.batch(0)
    x = perturbed_by_hand(images, chosen)
    assert 0.001 < (x - images).abs().max() < 0.1  # something was perturbed, and not much
    student = job.student().train()
    clean, moved = student.of_members(images).detach(), student.of_members(x).detach()
    kl = 0.0
    for teacher, own in zip(chosen, moved, strict=True):
        p, q = (teacher(x).detach() / 4).log_softmax(1), (own / 4).log_softmax(1)
        kl += 16 * float((p.exp() * (p - q)).sum(1).mean()) / len(pairs)
    ce = sum(float(torch.nn.functional.cross_entropy(own, labels)) for own in clean) / len(pairs)
    _, (record,) = taught(teachers, **options)
    assert record["kl"] == pytest.approx(kl, rel=1e-4)
    assert record["ce"] == pytest.approx(ce, rel=1e-5)
    assert record["loss"] == pytest.approx(0.1 * ce + 0.9 * kl, rel=1e-4)


def test_another_order_teaches_something_else(teachers):
    order = [taught(teachers, choose=choose)[1][0]["kl"] for choose in ("0,1,2", "2,0,1")]
    assert order[0] != pytest.approx(order[1], rel=1e-3)


def test_members_fit_their_own_teachers(teachers):
    """Trained on the teachers' posteriors alone, a member ends nearest to its own teacher."""
    options = {"alpha": 1.0, "tau": 1.0, "perturbation": "none", "epochs": 20, "lr": 0.1}
    learner, _ = taught(teachers, 60, **options)
    images = torch.from_numpy(prepared(teachers).dataset.train.images) / 255
    learner.network.eval()
    with torch.no_grad():
        own = learner.network.of_members(images).log_softmax(2)
        theirs = torch.stack([network(images) for network in networks(teachers)]).log_softmax(2)
    kl = (theirs.exp()[:, None] * (theirs[:, None] - own[None])).sum(-1).mean(-1)  # [T, M]
    assert kl.argmin(0).tolist() == [0, 1, 2], kl


@pytest.mark.parametrize("perturbation", ["gaussian", "ods", "conf_ods"])
def test_a_share_is_perturbed_as_within_the_whole(teachers, perturbation):
    job = prepared(teachers, perturbation=perturbation)
    images, _ = job.build_learner(Workers(), CPU).source.batch(3)
    all_rows = job.teaching(Workers(), CPU)(3, images)
    for shape in [(0, 2), (1, 2), (2, 4)]:
        mine = rows_of(len(images) // shape[1], shape)
        part = job.teaching(Workers(*shape), CPU)(3, images[mine])
        assert torch.equal(part.images_BCHW, images[mine])
        assert not torch.equal(part.perturbed_BCHW, images[mine])
        assert torch.allclose(part.perturbed_BCHW, all_rows.perturbed_BCHW[mine], rtol=0, atol=1e-6)
        assert torch.allclose(part.teacher_MBC, all_rows.teacher_MBC[:, mine], rtol=0, atol=1e-4)


def test_each_teacher_that_perturbs_makes_a_step_of_its_own_that_is_captured(teachers):
    plain, _ = taught(teachers, 6)
    job = prepared(teachers)
    learner, recorder = job.build_learner(Workers(), CPU), FakeRecorder()
    lessons = Lessons([learner], recorder)
    chosen = set()
    for step in range(6):
        lessons.advance(step)
        chosen.add(job.perturbation.chosen_teacher(job.config.seed, step, 3))
    assert weights_sha256(learner.network) == weights_sha256(plain.network)
    assert recorder.count("record") == len(chosen) > 1


# The teachers


@pytest.mark.parametrize("stacked", [False, True])
def test_the_teachers_only_teach(teachers, stacked):
    learner, _ = taught(teachers, 3, stacked_teachers=stacked)
    frozen = learner.inputs.teachers._modules
    for module, original in zip(frozen, networks(teachers), strict=True):
        state = module.state_dict()
        for name, value in original.state_dict().items():
            assert torch.equal(state[name], value), name  # statistics of batch norms too
        assert not any(part.training for part in module.modules())
        assert all(p.grad is None and not p.requires_grad for p in module.parameters())
    trained = {id(p) for group in learner.optimizer.param_groups for p in group["params"]}
    assert trained.isdisjoint(id(p) for module in frozen for p in module.parameters())
    own = {id(p) for p in learner.network.parameters()}
    assert trained == own


def test_stacked_teachers_teach_the_same(teachers):
    apart, stacked = (taught(teachers, 2, stacked_teachers=s)[1] for s in (False, True))
    for one, other in zip(apart, stacked, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


# Every row of the paper's table


@pytest.mark.parametrize(
    "options",
    [
        {"method": "labels"},
        {"perturbation": "none"},
        {"perturbation": "gaussian"},
        {"perturbation": "ods"},
        {"perturbation": "conf_ods", "ods_norm": "l2"},
        {"method": "mean", "members": 2},
        {"student": "single"},
        {"student": "single", "method": "labels"},
        {"student": "single", "perturbation": "none", "model": "wrn_10_1"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_every_way_to_learn(teachers, tmp_path, options):
    result = job(tmp_path / "run", teachers, **options, epochs=1, seed=3)
    assert result.summary["status"] == "finished"
    student, losses = the_student(result), [r["loss"] for r in records_of(result, "train")]
    assert len(losses) == 3
    assert all(map(math.isfinite, losses))
    assert {key: result.summary[key] for key in options if key not in ("members", "model")} == {
        key: value for key, value in options.items() if key not in ("members", "model")
    }
    told = {record["kl"] > 0 for record in records_of(result, "train")}
    assert told == {options.get("method") != "labels"}
    count = 0 if options.get("student") == "single" else options.get("members", 3)
    assert len(student.get("members", ())) == count
    assert ("test_diversity" in student) == (count > 0)
    assert [line["size"] for line in result.summary["teachers"]] == [1, 2, 3]
    assert 1 <= student["dee"] <= 3
    logits = result.student()(torch.rand(2, 1, 8, 8))
    assert logits.shape == (2, 10)


def test_the_methods_do_not_learn_the_same(teachers):
    ways = [
        {"perturbation": kind} for kind in ("none", "gaussian", "ods", "conf_ods")
    ] + [{"method": "mean"}, {"method": "labels"}, {"tau": 1.0}, {"alpha": 0.5}, {"eta": 4.0}]  # fmt: skip
    losses = [taught(teachers, 1, **way)[1][0]["loss"] for way in ways]
    assert len({round(loss, 6) for loss in losses}) == len(ways), losses


def test_alpha_0_and_labels_have_the_same_gradient(teachers):
    ends = [
        taught(teachers, 2, **way)[0]
        for way in ({"alpha": 0.0, "perturbation": "none"}, {"method": "labels"})
    ]
    states = [learner.network.state_dict() for learner in ends]
    for name, value in states[0].items():
        assert torch.allclose(value.float(), states[1][name].float(), atol=1e-6), name
