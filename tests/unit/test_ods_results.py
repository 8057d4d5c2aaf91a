"""ODS distillation in this process: what is measured and kept, and an interrupted run's end."""

import hashlib
import json

import pytest
import safetensors.torch
import torch

from cohort import ConfigError, RunError, SelfDistillConfig, load_student, resume, self_distill
from cohort.jobs.ods.job import OdsJob
from cohort.learning.student_files import weights_sha256
from cohort.run.checkpoint import newest_checkpoint
from tests.support.ods_runs import (
    SIZES,
    SMALL_NETWORK,
    interrupted_at,
    job,
    networks,
    prepared,
    records_of,
    taught,
    the_student,
)
from tests.support.ods_runs import distilled as distilled
from tests.support.ods_runs import teachers as teachers
from tests.support.teacher_runs import deep_ensemble

TRUSTED = {"trust_code": True}
MEASURE = OdsJob.measure
SCORES = ("accuracy", "nll", "brier", "ece")
CALIBRATED = ("temperature", "cnll", "cbrier", "cece")


@pytest.fixture(scope="module")
def without_validation(tmp_path_factory):
    return deep_ensemble(tmp_path_factory.mktemp("teachers") / "run", k=2, students=SMALL_NETWORK)


# What is written down


def test_no_teacher_is_in_the_files(distilled):
    kept = safetensors.torch.load_file(distilled.run_dir / "students/0/model.safetensors")
    assert kept.keys() == prepared_keys(distilled)
    saved = sorted(distilled.run_dir.glob("checkpoints/*"))[-1] / "0"
    names = {file.name for file in saved.iterdir()}
    assert names == {"model.safetensors", "optimizer.pt", "best.safetensors", "best.json"}
    for file in ("model.safetensors", "best.safetensors"):
        assert safetensors.torch.load_file(saved / file).keys() == kept.keys()


def prepared_keys(result):
    return result.student().state_dict().keys()


def of_split(result, split, weights="students/0"):
    """The members' log-posteriors over a split, by the loaded student."""
    student = load_student(result.run_dir / weights, trust_code=True)
    with torch.no_grad():
        logits = student.of_members(torch.from_numpy(split.images) / 255)
    return logits.double().log_softmax(2)


def scores(posterior, labels):
    """Accuracy, negative log-likelihood and Brier score of probabilities [N, C]."""
    right = torch.nn.functional.one_hot(labels, 10)
    nll = -posterior[torch.arange(len(labels)), labels].log().mean()
    hits = (posterior.argmax(1) == labels).double().mean()
    return float(hits), float(nll), float(((posterior - right) ** 2).sum(1).mean())


def test_the_summary_says_what_the_student_is_worth(distilled, teachers):
    summary, student = distilled.summary, the_student(distilled)
    assert summary == json.loads((distilled.run_dir / "summary.json").read_text())
    assert student["model"] == f"{SMALL_NETWORK}+members=3"
    split = prepared(teachers).dataset.test
    labels = torch.from_numpy(split.labels)
    log_posteriors = of_split(distilled, split)
    together = scores(log_posteriors.exp().mean(0), labels)
    assert [student[f"test_{name}"] for name in SCORES[:3]] == pytest.approx(together, rel=1e-4)
    assert [summary["ensemble"][f"test_{n}"] for n in SCORES[:3]] == pytest.approx(
        together, rel=1e-4
    )
    for line, own in zip(student["members"], log_posteriors, strict=True):
        expected = scores(own.exp(), labels)
        assert [line[f"test_{n}"] for n in SCORES[:3]] == pytest.approx(expected, rel=1e-4)
    assert [line["member"] for line in student["members"]] == [0, 1, 2]
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    kl = [
        float((log_posteriors[i].exp() * (log_posteriors[i] - log_posteriors[j])).sum(1).mean())
        for i, j in pairs
    ]
    assert student["test_diversity"] == pytest.approx(sum(kl) / len(kl), rel=1e-3)
    assert {f"test_{name}" for name in CALIBRATED} <= student.keys()
    assert student["parameters"] == sum(p.numel() for p in distilled.student().parameters())


def test_the_calibration_is_by_one_temperature_of_the_validation_split(distilled, teachers):
    """cNLL by a search over temperatures on the validation split, and then measured on the other."""
    student, data = the_student(distilled), prepared(teachers).dataset
    held_out = of_split(distilled, data.validation).exp().mean(0).log()
    tested = of_split(distilled, data.test).exp().mean(0).log()
    of_validation, of_test = (torch.from_numpy(s.labels) for s in (data.validation, data.test))

    def nll(log_posterior, labels, temperature):
        return float(torch.nn.functional.cross_entropy(log_posterior / temperature, labels))

    temperatures = torch.logspace(-2, 2, 4001, dtype=torch.float64).tolist()
    best = min(temperatures, key=lambda temperature: nll(held_out, of_validation, temperature))
    assert student["test_temperature"] == pytest.approx(best, rel=3e-3)
    assert student["test_cnll"] == pytest.approx(nll(tested, of_test, best), rel=1e-4)


def test_the_teachers_lines_are_their_ensembles(distilled, teachers):
    split = prepared(teachers).dataset.test
    labels, images = torch.from_numpy(split.labels), torch.from_numpy(split.images) / 255
    with torch.no_grad():
        p = torch.stack([network(images).double().softmax(1) for network in networks(teachers)])
    subsets = {1: [[0], [1], [2]], 2: [[0, 1], [1, 2], [2, 0]], 3: [[0, 1, 2]]}
    for line in distilled.summary["teachers"]:
        measured = torch.tensor([scores(p[s].mean(0), labels) for s in subsets[line["size"]]])
        expected = measured.double().mean(0).tolist()
        assert [line[f"test_{n}"] for n in SCORES[:3]] == pytest.approx(expected, rel=1e-4)
        assert {f"test_{name}" for name in CALIBRATED} <= line.keys()
    kl = [
        float((p[i] * (p[i].log() - p[j].log())).sum(1).mean())
        for i in range(3) for j in range(3) if i != j
    ]  # fmt: skip
    assert distilled.summary["teacher_diversity"] == pytest.approx(sum(kl) / 6, rel=1e-3)


def test_dee_lies_where_the_teachers_curve_has_the_student_s_cnll(distilled):
    curve = [line["test_cnll"] for line in distilled.summary["teachers"]]
    for line in (the_student(distilled), distilled.summary["best"]):
        dee, cnll = line["dee"], line["test_cnll"]
        outside = line["dee_outside"]
        assert 1 <= dee <= 3
        if outside:
            assert (outside, dee) == ((-1, 1) if cnll > curve[0] else (1, 3))
            assert outside == -1 or cnll < min(curve)
        else:
            below = int(dee)
            between = curve[below - 1] + (dee - below) * (curve[below] - curve[below - 1])
            assert between == pytest.approx(cnll, rel=1e-6)


# The best by validation, and the last


def test_best_is_the_best_validation_record(distilled):
    records = records_of(distilled, "validation")
    assert [record["step"] for record in records] == [3, 6, 9, 12]
    first = max(records, key=lambda r: (r["accuracy"], -r["nll"]))
    best = distilled.summary["best"]
    assert (best["step"], best["epoch"]) == (first["step"], first["step"] / 3)
    (beside,) = [r for r in records_of(distilled, "test") if r["step"] == first["step"]]
    for name in (*SCORES, *CALIBRATED, "diversity"):
        assert best[f"validation_{name}"] == first[name]
        assert best[f"test_{name}"] == beside[name]
    assert not any("members" in key for key in best)


def test_best_and_last_lie_on_disk(distilled, teachers):
    split = prepared(teachers).dataset.test
    labels = torch.from_numpy(split.labels)
    for weights, line in (
        ("students/0/best", distilled.summary["best"]),
        ("students/0", the_student(distilled)),
    ):
        expected = scores(of_split(distilled, split, weights).exp().mean(0), labels)
        assert [line[f"test_{n}"] for n in SCORES[:3]] == pytest.approx(expected, rel=1e-4)


def replaying(monkeypatch, accuracies):
    """Let the student's accuracy on the validation split be these, evaluation by evaluation.

    Its number in the summary is then known, whatever the student learned.
    """

    def measure(self, outputs, labels_N, held_out):
        evaluation = MEASURE(self, outputs, labels_N, held_out)
        if outputs is held_out:
            evaluation[0]["accuracy"] = accuracies.pop(0)
        return evaluation

    monkeypatch.setattr(OdsJob, "measure", measure)


def test_the_best_is_kept_though_the_run_was_interrupted_after_it(
    distilled, teachers, tmp_path, monkeypatch
):
    replaying(monkeypatch, [0.9, 0.3, 0.9])
    equals = job(tmp_path / "equals", teachers, epochs=3)
    assert equals.summary["best"]["step"] in (3, 9)  # the one of lower NLL
    replaying(monkeypatch, [0.3, 0.9])
    short = interrupted_at(8, tmp_path / "short", teachers)
    replaying(monkeypatch, [0.5, 0.4])
    resumed = resume(short.run_dir, given=TRUSTED)
    assert resumed.summary["best"]["step"] == 6
    assert resumed.summary["best"]["validation_accuracy"] == 0.9
    best, last = (
        safetensors.torch.load_file(resumed.run_dir / folder / "model.safetensors")
        for folder in ("students/0/best", "students/0")
    )
    kept = safetensors.torch.load_file(distilled.run_dir / "students/0" / "model.safetensors")
    assert all(torch.equal(last[name], kept[name]) for name in kept)
    assert not all(torch.equal(last[name], best[name]) for name in best)
    before = safetensors.torch.load_file(
        resumed.run_dir / "checkpoints/step_00000012/0/best.safetensors"
    )
    assert all(torch.equal(before[name], best[name]) for name in best)


def test_without_a_validation_split_nothing_is_calibrated(without_validation, tmp_path):
    result = job(tmp_path / "run", without_validation)
    assert result.summary["status"] == "finished"
    assert "best" not in result.summary
    lines = [the_student(result), *result.summary["teachers"]]
    assert not any(f"test_{name}" in line for line in lines for name in CALIBRATED)
    assert "dee" not in the_student(result)
    assert records_of(result, "validation") == []
    assert not (result.run_dir / "students/0/best").exists()
    assert not list(result.run_dir.glob("checkpoints/*/0/best*"))


def test_self_distillation_keeps_its_best_too(tmp_path):
    result = self_distill(
        SelfDistillConfig(
            **SIZES, model="resnet8", exits="stages.0", train_subset=96, test_subset=30,
            validation=40, run_dir=str(tmp_path / "run"),
        )
    )  # fmt: skip
    records = records_of(result, "validation")
    own = [record for record in records if record["student"] == 0]
    first = max(own, key=lambda r: (r["accuracy"], -r["nll"]))
    best = result.summary["best"]
    assert best["step"] == first["step"]
    assert best["validation_accuracy"] == first["accuracy"]
    assert "dee" not in best
    load_student(result.run_dir / "students/0/best", trust_code=True)


# Again, and again after an interruption


def digest(result):
    return hashlib.sha256(
        (result.run_dir / "students/0/model.safetensors").read_bytes()
    ).hexdigest()


def test_the_same_run_twice_is_the_same(distilled, teachers, tmp_path):
    again = job(tmp_path / "run", teachers, epochs=4)
    assert digest(again) == digest(distilled)
    assert the_student(again) == the_student(distilled)
    phases = ("train", "validation", "test")
    assert records_of(again, *phases) == records_of(distilled, *phases)
    one, other = (taught(teachers, 1, seed=seed)[0].network for seed in (0, 1))
    assert weights_sha256(one) != weights_sha256(other)


@pytest.mark.parametrize("step", [5, 12])
def test_resumed_it_ends_as_undisturbed(distilled, teachers, tmp_path, step):
    """Stopped within an epoch, or when all was done but not told."""
    short = interrupted_at(step, tmp_path / "run", teachers)
    resumed = resume(short.run_dir, given=TRUSTED)
    assert digest(resumed) == digest(distilled)
    assert records_of(resumed, "train") == records_of(distilled, "train")
    assert the_student(resumed) == the_student(distilled)
    assert resumed.summary["teachers"] == distilled.summary["teachers"]


def test_a_checkpoint_is_tried_without_teachers(teachers, tmp_path, monkeypatch):
    """They are built for the training alone, and not by a driver whose workers or actors have them."""
    run = job(tmp_path / "run", teachers, epochs=2, steps=3)
    built, build = [], OdsJob.build_teachers
    monkeypatch.setattr(
        OdsJob, "build_teachers", lambda *args, **named: built.append(1) or build(*args, **named)
    )
    tried = prepared(teachers).restorable()
    tried.restore(newest_checkpoint(run.run_dir / "checkpoints").load(0))
    assert built == []
    kept = safetensors.torch.load_file(run.run_dir / "students/0/model.safetensors")
    assert all(torch.equal(tried.network.state_dict()[name], kept[name]) for name in kept)
    resume(run.run_dir, given={"steps": 6, **TRUSTED})
    assert built == [1]


def test_other_teachers_on_resuming_must_fit(teachers, without_validation, tmp_path):
    run = job(tmp_path / "run", teachers, epochs=2, steps=3)
    with pytest.raises(ConfigError, match="--validation is 40"):
        resume(run.run_dir, given={"teachers": without_validation, "steps": 6, **TRUSTED})
    two = deep_ensemble(tmp_path / "two", k=2, students=SMALL_NETWORK, validation=40, steps=1)
    with pytest.raises(ConfigError, match="--members is 3, but 2 students"):
        resume(run.run_dir, given={"teachers": two, "steps": 6, **TRUSTED})


def test_a_loss_that_is_not_finite_ends_the_run(teachers, tmp_path):
    with pytest.raises(RunError, match="student 0: the loss is not finite at step"):
        job(tmp_path / "run", teachers, lr=1e30, warmup_epochs=0, epochs=4)
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["status"] == "failed"
