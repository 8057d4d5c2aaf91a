"""A frozen teacher beside a student, and FitNets' regressors: trained, resumed, never kept."""

import pytest
import safetensors.torch
import torch

from cohort import SelfDistillConfig, resume, self_distill
from cohort.jobs.self_distill.config import resolve
from cohort.jobs.self_distill.job import prepare
from cohort.learning.data_parallel import Workers
from cohort.learning.learner import ADAPTERS_FILE
from cohort.learning.student_files import load_student
from cohort.reporting.records import read_metrics

SMALL = {
    "model": "resnet8", "train_subset": 96, "test_subset": 10, "batch_size": 16, "epochs": 2,
    "threads": 1, "workers": 0, "log_every": 1,
}  # fmt: skip


def job(run_dir, **options):
    return self_distill(SelfDistillConfig(**{**SMALL, **options}, run_dir=str(run_dir)))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return job(tmp_path_factory.mktemp("teacher") / "run", model="wrn_10_1", steps=3)


@pytest.fixture(scope="module")
def student_of(teacher):
    """A learner beside the teacher, and the teacher that it is run beside."""

    def build(method, **options):
        given = {"teacher": str(teacher.run_dir), **SMALL, **options}
        config = SelfDistillConfig(**given, method=method)
        learner = prepare(resolve(config)).build_learner(Workers(), torch.device("cpu"))
        return learner, learner.forward._frozen[0]

    return build


def steps(learner, count):
    for step in range(count):
        learner.predict(step)
        learner.learn(step)


def copied(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(state, other):
    assert state.keys() == other.keys()
    return all(torch.equal(state[name], other[name]) for name in state)


@pytest.mark.parametrize("method", ["kd", "fitnet", "at"])
def test_the_teacher_goes_where_the_student_goes(student_of, method):
    """Though it is no submodule: to a GPU for example, or here to another precision."""
    learner, teacher = student_of(method)
    learner.forward.double()
    assert {value.dtype for value in teacher.parameters()} == {torch.float64}
    images = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    learner.network.scale, teacher.scale = learner.network.scale.double(), teacher.scale.double()
    outputs = learner.forward(images)
    assert outputs.teacher_logits_BC.dtype == outputs.logits_BC.dtype == torch.float64


@pytest.mark.parametrize("method", ["kd", "fitnet", "at"])
def test_the_teacher_only_teaches(student_of, teacher, method):
    learner, frozen = student_of(method)
    before, student = copied(frozen), copied(learner.network)
    assert same(before, load_student(teacher.run_dir / "students" / "0").state_dict())
    steps(learner, 3)
    assert same(before, copied(frozen))  # its batch norms' statistics too
    assert not same(student, copied(learner.network))
    assert not any(module.training for module in frozen.modules())
    assert all(p.grad is None and not p.requires_grad for p in frozen.parameters())
    trained = {id(p) for group in learner.optimizer.param_groups for p in group["params"]}
    assert trained.isdisjoint(id(p) for p in frozen.parameters())
    assert not any("teacher" in name for name in learner.forward.state_dict())


def test_the_teacher_s_word_counts(student_of, teacher):
    """The first record's divergence, by hand, from the teacher's logits in evaluation mode."""
    learner, _ = student_of("kd")
    images, _ = learner.source.batch(0)
    logits = learner.network(images).detach()
    taught = load_student(teacher.run_dir / "students" / "0")(images).detach()
    fresh, _ = student_of("kd")
    steps(fresh, 1)
    (record,) = fresh.windows.drain()
    p, q = (taught / 4).log_softmax(1), (logits / 4).log_softmax(1)
    expected = 16 * (p.exp() * (p - q)).sum(1).mean()
    assert record["kl"] == pytest.approx(expected.item(), rel=1e-4)


def test_regressors_are_trained_and_only_fitnet_has_some(student_of):
    learner, _ = student_of("fitnet")
    before = copied(learner.adapters)
    assert before
    steps(learner, 2)
    assert not same(before, copied(learner.adapters))
    for method in ("kd", "at"):
        assert not copied(student_of(method)[0].adapters)


def test_fitnet_compares_one_layer_in_the_middle_unless_told_otherwise(student_of):
    assert len(student_of("fitnet")[0].adapters.regressors) == 1
    learner, _ = student_of("fitnet", exits="stages.0,stages.1")
    assert len(learner.adapters.regressors) == 2
    steps(learner, 1)


@pytest.mark.parametrize("exits", [None, "stages.0,stages.1,stages.2"])
@pytest.mark.parametrize("taught_by", ["plain", "byot"])
def test_attention_is_compared_at_the_end_of_every_section(
    student_of, teacher, tmp_path, taught_by, exits
):
    """Of the last one too: the paper compares all groups of a residual network (Fig. 5)."""
    run = teacher if taught_by == "plain" else job(tmp_path / "run", steps=1)
    learner, frozen = student_of("at", teacher=str(run.run_dir), exits=exits)
    ours, theirs = learner.forward._frozen[1]
    assert ours.places == theirs.places == ("stages.0", "stages.1", "stages.2")
    images = torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        maps, logits = theirs.with_maps(frozen.normalise(images))
    assert [tuple(m.shape[2:]) for m in maps] == [(8, 8), (4, 4), (2, 2)]
    assert torch.equal(logits, frozen(images))
    learner.network.eval()
    with torch.no_grad():
        maps, logits = ours.with_maps(learner.network.normalise(images))
    assert torch.equal(logits, learner.network(images))
    pooled = maps[2].mean(dim=(2, 3))
    assert torch.allclose(logits, learner.network.network.classifier(pooled), atol=1e-5)


def test_attention_of_a_teacher_with_an_exit_inside_its_last_stage(student_of, tmp_path):
    run = job(tmp_path / "run", model="resnet20", steps=1)
    learner, frozen = student_of("at", teacher=str(run.run_dir), model="resnet20")
    ours, theirs = learner.forward._frozen[1]
    assert ours.places == ("stages.0.1", "stages.1.1", "stages.2.0", "stages.2")
    assert theirs.places == ("stages.0.1", "stages.1.1", "stages.2.0", "stages.2.2")
    images = torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        maps, logits = theirs.with_maps(frozen.normalise(images))
        expected = frozen.network.classifiers[-1](maps[3].mean(dim=(2, 3)))
    assert torch.equal(logits, frozen(images))
    torch.testing.assert_close(logits, expected)


def test_regressors_are_resumed_bit_for_bit_and_not_kept(teacher, tmp_path):
    options = {"method": "fitnet", "teacher": str(teacher.run_dir)}
    whole = job(tmp_path / "whole", **options)
    short = job(tmp_path / "short", steps=5, **options)
    (saved,) = short.run_dir.glob(f"checkpoints/step_00000005/0/{ADAPTERS_FILE}")
    halfway = safetensors.torch.load_file(saved)
    kept = safetensors.torch.load_file(short.run_dir / "students/0/model.safetensors")
    assert kept.keys() == load_student(short.run_dir / "students" / "0").state_dict().keys()
    assert not any("regressor" in name for name in kept)
    resumed = resume(short.run_dir, given={"steps": 12})
    ends = [
        safetensors.torch.load_file(run / "checkpoints" / "step_00000012" / "0" / ADAPTERS_FILE)
        for run in (whole.run_dir, resumed.run_dir)
    ]
    assert same(*ends)
    assert not same(ends[0], halfway)
    assert resumed.summary["students"] == whole.summary["students"]
    losses = [
        [
            (r["step"], r["loss"])
            for r in read_metrics(run / "metrics.jsonl")
            if r["phase"] == "train"
        ]
        for run in (whole.run_dir, resumed.run_dir)
    ]
    assert losses[0] == losses[1]
