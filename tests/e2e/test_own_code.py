"""From Python, with one's own networks and data, and what a run leaves behind."""

import functools
import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

from cohort import (
    CohortConfig,
    ConfigError,
    MultiExitStudent,
    SelfDistillConfig,
    WithExits,
    load_student,
    resume,
    self_distill,
    train_cohort,
)
from cohort.cli.parser import parse
from cohort.config_file import load_config
from tests.support.exits import Silent

MODULE = """
import functools
import numpy as np
from torch import nn
from cohort import ImageDataset, Split


def tiny(num_classes, image_shape):
    channels = image_shape[0]
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
        nn.Linear(72, num_classes),
    )


def bars(root):
    '''Two classes: a bright upper or a bright lower half.'''
    random = np.random.default_rng(len(root))
    labels = np.arange(96) % 2
    images = random.integers(0, 100, (96, 3, 8, 8), dtype=np.uint8)
    for image, label in zip(images, labels):
        image[:, 4 * label : 4 * label + 4] += 100
    return ImageDataset(
        name="bars", classes=("up", "down"), mean=(0.4,) * 3, std=(0.2,) * 3,
        train=Split(images[:64], labels[:64]), test=Split(images[64:], labels[64:]),
    )
"""

TRUSTED = {"trust_code": True}
SUMMARY = {
    "status", "steps", "epochs", "seed", "wall_seconds", "images_per_second", "restarts", "dropped",
    "students", "ensemble", "times", "hosts", "versions",
}  # fmt: skip
STUDENT = {
    "student", "model", "parameters", "test_accuracy", "test_nll", "test_brier", "test_ece",
    "train_entropy", "weights_sha256",
}  # fmt: skip
ENSEMBLE = {"test_accuracy", "test_nll", "test_brier", "test_ece"}


def small(num_classes):
    """A user's function without ``image_shape``."""
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, num_classes))


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's module beside which the run is started."""
    (tmp_path / "own_code.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "own_code", raising=False)
    import own_code

    yield own_code
    sys.modules.pop("own_code", None)


def config_of(**options):
    defaults = {
        "exchange": "in_process", "batch_size": 16, "epochs": 3, "lr": 0.05, "log_every": 2,
        "data_root": "pictures",
    }  # fmt: skip
    return CohortConfig(**{**defaults, **options})


def by_name(**options):
    return config_of(dataset="own_code:bars", students="own_code:tiny", **options)


def lines(result):
    return [
        json.loads(line) for line in (result.run_dir / "metrics.jsonl").read_text().splitlines()
    ]


def hashes(result):
    return [student["weights_sha256"] for student in result.summary["students"]]


def test_callables_and_names_give_the_same_students(own):
    named = train_cohort(by_name())
    called = train_cohort(config_of(dataset=own.bars, students=own.tiny))
    each = train_cohort(config_of(dataset=own.bars, students=("own_code:tiny", own.tiny)))
    assert hashes(named) == hashes(called) == hashes(each)
    assert len(set(hashes(named))) == 2
    assert [s["model"] for s in called.summary["students"]] == ["own_code:tiny"] * 2
    assert {result.run_dir.parent.name for result in (named, called, each)} == {"runs"}
    assert len({result.run_dir for result in (named, called, each)}) == 3


def test_it_learns(own):
    result = train_cohort(by_name(epochs=10))
    assert all(student["test_accuracy"] >= 0.9 for student in result.summary["students"])
    assert result.summary["ensemble"]["test_accuracy"] >= 0.9


def test_on_step_receives_every_record(own):
    received = []
    result = train_cohort(by_name(), on_step=received.append)
    assert received == lines(result)
    train = [(r["step"], r["student"]) for r in received if r["phase"] == "train"]
    assert train == [(step, k) for step in range(2, 13, 2) for k in (0, 1)]
    test = [(r["step"], r["student"]) for r in received if r["phase"] == "test"]
    assert test == [(step, k) for step in (4, 8, 12) for k in (0, 1, "ensemble")]
    assert {r["step"]: r["epoch"] for r in received}[6] == 1.5
    for record in received:
        keys = {"time", "phase", "step", "epoch", "student"}
        measured = {"loss", "ce", "kl", "accuracy", "entropy"}
        tested = {"accuracy", "nll", "brier", "ece"}
        of_all = {"agreement", "pairwise_kl"} if record["student"] == "ensemble" else set()
        assert set(record) == keys | (measured if record["phase"] == "train" else tested | of_all)


def test_the_summary_has_what_the_contract_says(own):
    result = train_cohort(by_name(seed=5))
    summary = json.loads((result.run_dir / "summary.json").read_text())
    assert summary == result.summary
    assert set(summary) == SUMMARY
    expected = {"status": "finished", "steps": 12, "epochs": 3.0, "seed": 5, "restarts": 0}
    assert {key: summary[key] for key in expected} == expected
    assert summary["dropped"] == []
    assert summary["wall_seconds"] > 0
    assert [set(student) for student in summary["students"]] == [STUDENT, STUDENT]
    assert [student["student"] for student in summary["students"]] == [0, 1]
    assert set(summary["ensemble"]) == ENSEMBLE
    assert set(summary["versions"]) >= {"python", "torch", "ray", "cohort"}
    tiny = own.tiny(2, (3, 8, 8))
    assert summary["students"][0]["parameters"] == sum(p.numel() for p in tiny.parameters())
    names = {path.name for path in result.run_dir.iterdir()}
    files = {"config.yaml", "data.json", "metrics.jsonl", "summary.json"}
    assert names == {*files, "checkpoints", "students"}


def test_the_summary_is_that_of_the_last_evaluation(own):
    result = train_cohort(by_name(steps=6))  # not a multiple of the evaluations' period
    last = {r["student"]: r for r in lines(result) if r["phase"] == "test" and r["step"] == 6}
    assert set(last) == {0, 1, "ensemble"}
    for key in ("accuracy", "nll", "brier", "ece"):
        for student in result.summary["students"]:
            assert student[f"test_{key}"] == last[student["student"]][key]
        assert result.summary["ensemble"][f"test_{key}"] == last["ensemble"][key]


def test_load_student_gives_the_accuracy_of_the_summary(own):
    result = train_cohort(by_name(steps=3))
    data = own.bars("pictures")
    images = torch.from_numpy(data.test.images).float() / 255
    labels = torch.from_numpy(data.test.labels)
    posteriors = []
    for line in result.summary["students"]:
        folder = result.run_dir / "students" / str(line["student"])
        student = load_student(folder, trust_code=True)
        with torch.no_grad():
            posterior = student(images).softmax(1)
        posteriors.append(posterior)
        assert (posterior.argmax(1) == labels).double().mean().item() == line["test_accuracy"]
        nll = -posterior.log()[torch.arange(len(labels)), labels].mean().item()
        assert nll == pytest.approx(line["test_nll"], rel=1e-4)
        assert torch.equal(result.student(line["student"])(images), student(images))
    ensemble = torch.stack(posteriors).mean(0)
    accuracy = (ensemble.argmax(1) == labels).double().mean().item()
    assert accuracy == result.summary["ensemble"]["test_accuracy"]


def test_the_train_entropy_is_that_of_the_saved_student(own):
    result = train_cohort(by_name())
    data = own.bars("pictures")
    images = torch.from_numpy(data.train.images).float() / 255
    for line in result.summary["students"]:
        with torch.no_grad():
            posterior = result.student(line["student"])(images).softmax(1)
        entropy = torch.special.entr(posterior).sum(1).mean().item()
        assert entropy == pytest.approx(line["train_entropy"], rel=1e-4)


def test_the_config_of_a_run_repeats_it(own):
    first = train_cohort(by_name(teacher="ensemble", optimizer="adam", lr=2e-3, seed=3))
    file = first.run_dir / "config.yaml"
    assert None not in {
        getattr(load_config(file, CohortConfig, TRUSTED), key)
        for key in (
            "students",
            "epochs",
            "batch_size",
            "lr",
            "weight_decay",
            "optimizer",
            "threads",
        )
    }
    again = train_cohort(parse(CohortConfig, "", ["--config", str(file), "--trust-code"]).config)
    assert again.run_dir != first.run_dir
    assert hashes(again) == hashes(first)
    other = train_cohort(
        parse(CohortConfig, "", ["--config", str(file), "--trust-code", "--seed", "4"]).config
    )
    assert set(hashes(other)).isdisjoint(hashes(first))
    assert (again.run_dir / "config.yaml").read_text() == file.read_text()


def test_a_run_that_is_extended_equals_one_that_never_stopped(own):
    whole = train_cohort(by_name(checkpoint_every=2))
    short = train_cohort(by_name(checkpoint_every=2, steps=5))
    assert short.summary["steps"] == 5
    extended = resume(short.run_dir, given={"steps": 12, **TRUSTED})
    assert extended.summary["steps"] == 12
    assert hashes(extended) == hashes(whole)
    without_time = [
        [{key: value for key, value in r.items() if key != "time"} for r in lines(result)]
        for result in (whole, extended)
    ]
    tested = [[r for r in records if r["step"] in (8, 12)] for records in without_time]
    assert tested[0] == tested[1]


def test_lambdas_partials_and_objects(own):
    """Whatever can be called will do in one process; only --config cannot repeat it."""

    class Maker:
        def __call__(self, num_classes):
            return small(num_classes)

    result = train_cohort(
        config_of(
            k=3,
            dataset=functools.partial(own.bars, "pictures"),
            students=(lambda num_classes: small(num_classes), functools.partial(small), Maker()),
        )
    )
    assert [s["model"] for s in result.summary["students"]] == ["<lambda>", "<partial>", "<Maker>"]
    with pytest.raises(ConfigError, match="<lambda>"):
        load_student(result.run_dir / "students" / "0")
    images = torch.rand(2, 3, 8, 8)
    loaded = load_student(result.run_dir / "students" / "0", small)
    assert loaded(images).shape == (2, 2)
    with pytest.raises(ConfigError):
        train_cohort(load_config(result.run_dir / "config.yaml", CohortConfig))


def test_a_user_s_own_images_are_not_changed(own):
    data = own.bars("pictures")
    before = data.train.images.copy(), data.train.labels.copy()
    train_cohort(config_of(dataset=lambda: data, students=small))
    np.testing.assert_array_equal(data.train.images, before[0])
    np.testing.assert_array_equal(data.train.labels, before[1])


def test_an_exception_in_on_step_ends_the_run_and_is_not_lost(own):
    class MineError(Exception):
        pass

    def on_step(record):
        raise MineError("from the callback")

    with pytest.raises(RuntimeError, match="MineError: from the callback") as caught:
        train_cohort(by_name(run_dir="failing"), on_step=on_step)
    assert isinstance(caught.value.__cause__, MineError)
    with open("failing/summary.json") as file:
        assert json.load(file)["status"] == "failed"


def test_the_global_random_state_is_left_alone(own):
    state = torch.get_rng_state()
    result = train_cohort(by_name())
    result.student(0)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_baseline_is_the_same_students_alone(own):
    result = train_cohort(by_name(baseline=True))
    alone = train_cohort(by_name(teacher="none"))
    assert hashes(result.alone) == hashes(alone)
    assert hashes(result) != hashes(alone)
    assert result.alone.run_dir == result.run_dir / "alone"


def job_of(model, **options):
    return SelfDistillConfig(
        dataset="own_code:bars", model=model, exits=("body.0",), batch_size=16, epochs=3,
        log_every=2, data_root="pictures", workers=0, threads=1, **options,
    )  # fmt: skip


def test_one_s_own_network_is_its_own_teacher(own):
    """Given by name, as a function, and as a lambda: the same student, and on_step sees its exits."""
    received = []
    named = self_distill(job_of("tests.support.exits:Silent"))
    called = self_distill(job_of(Silent), on_step=received.append)
    unnamed = self_distill(
        job_of(lambda num_classes, image_shape: Silent(num_classes, image_shape))
    )
    assert hashes(named) == hashes(called) == hashes(unnamed)
    assert called.summary["students"][0]["model"] == "tests.support.exits:Silent+exits=body.0"
    assert unnamed.summary["students"][0]["model"] == "<lambda>+exits=body.0"
    assert received == lines(called)
    of_student = [record for record in received if record["student"] == 0]
    assert {record["phase"] for record in of_student} == {"train", "test"}
    assert all(len(record["exits"]["accuracy"]) == 2 for record in of_student)
    pixels = torch.rand(3, 3, 8, 8)
    for result in (named, called, unnamed):
        student = result.student()
        assert isinstance(student, MultiExitStudent)
        assert student.network.places == ("body.0",)
        assert torch.equal(student(pixels), named.student()(pixels))


def test_a_lambda_is_given_again_to_resume(own):
    def network(num_classes, image_shape):
        return Silent(num_classes, image_shape)

    whole = self_distill(job_of(network))
    short = self_distill(job_of(network, steps=5))
    with pytest.raises(ConfigError, match="network"):
        resume(short.run_dir, given={"steps": 12, **TRUSTED})
    extended = resume(
        short.run_dir, given={"steps": 12, "model": network, "dataset": "own_code:bars"}
    )
    assert hashes(extended) == hashes(whole)


def test_one_s_own_network_with_exits_in_a_cohort(own):
    students = (WithExits(Silent, ("body.1",)), own.tiny)
    result = train_cohort(config_of(dataset=own.bars, students=students))
    assert [type(result.student(k)).__name__ for k in (0, 1)] == ["MultiExitStudent", "Normalised"]
    records = [r for r in lines(result) if r["phase"] == "train"]
    assert [("exits" in r) for r in records] == [r["student"] == 0 for r in records]


def test_an_extended_run_extends_its_baseline(tmp_path):
    config = CohortConfig(
        exchange="in_process",
        train_subset=64,
        test_subset=16,
        batch_size=16,
        epochs=2,
        steps=3,
        baseline=True,
        run_dir=str(tmp_path / "run"),
    )
    first = train_cohort(config)
    assert first.alone is not None
    assert first.alone.summary["steps"] == 3
    extended = resume(first.run_dir, given={"steps": 8})
    assert extended.alone is not None
    assert (extended.summary["steps"], extended.alone.summary["steps"]) == (8, 8)
