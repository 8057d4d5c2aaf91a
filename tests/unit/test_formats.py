"""Files of format 1 are read from now on; those of a format that is not known yet are refused."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from cohort import SelfDistillConfig, load_student, load_study, resume
from cohort.analysis.evaluate import evaluate_run
from cohort.cli.parser import parse
from cohort.errors import ConfigError
from cohort.learning.student_files import weights_sha256
from cohort.reporting.records import read_metrics
from cohort.run.checkpoint import Progress, newest_checkpoint, write_checkpoint
from cohort.run.finished import load_run
from cohort.tuning.file.load import to_yaml
from cohort.tuning.folder import StudyFolder
from cohort.tuning.results.table import trials_table
from cohort.tuning.state import ended_trials, known_trials
from tests.support.command import LAUNCH, SELF_DISTILL, here

OLD = Path(__file__).parents[1] / "formats" / "1"
RUNS = {"cohort": resume, "self_distill": resume}
SCRIPTS = {"cohort": LAUNCH, "self_distill": SELF_DISTILL}


@pytest.fixture(params=list(RUNS))
def kind(request):
    return request.param


@pytest.fixture
def old(kind, tmp_path):
    """A copy of a run that the first version trained."""
    return Path(shutil.copytree(OLD / kind, tmp_path / "old"))


def summary_of(run_dir):
    return json.loads((run_dir / "summary.json").read_text())


def test_students(kind):
    for told in summary_of(OLD / kind)["students"]:
        student = load_student(OLD / kind / "students" / str(told["student"]))
        assert weights_sha256(student) == told["weights_sha256"]


def test_a_run_for_analysis(kind):
    run, told = load_run(OLD / kind), summary_of(OLD / kind)
    assert len(run.students) == len(told["students"])
    assert (run.name, len(run.dataset.train), len(run.dataset.test)) == (kind, 64, 20)


def test_a_run_measured_again(kind):
    again, told = evaluate_run(OLD / kind).summary, summary_of(OLD / kind)
    for measured, before in zip(again["students"], told["students"], strict=True):
        assert measured["test_accuracy"] == before["test_accuracy"]
        assert measured["test_nll"] == pytest.approx(before["test_nll"])


def test_a_run_goes_on(kind, old):
    assert RUNS[kind](old, given={"epochs": 2}).summary["steps"] == 8
    steps = [r["step"] for r in read_metrics(old / "metrics.jsonl") if r["phase"] == "train"]
    assert sorted(set(steps)) == [2, 4, 6, 8]


def test_a_config_repeats_its_run(kind, tmp_path):
    file, run_dir = OLD / kind / "config.yaml", tmp_path / "again"
    assert here("--config", file, "--run-dir", run_dir, script=SCRIPTS[kind])[0] == 0
    before, again = (yaml.safe_load((d / "config.yaml").read_text()) for d in (OLD / kind, run_dir))
    assert again.items() >= before.items()


def distance_of(values, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(values))
    return parse(SelfDistillConfig, None, ["--config", str(file)]).config.hint_distance


def test_the_distance_of_a_hint_is_the_mean_that_it_was(tmp_path):
    """Where a run wrote its weight down; one that a user writes anew weighs the paper's sum."""
    written = yaml.safe_load((OLD / "self_distill" / "config.yaml").read_text())
    assert distance_of(written, tmp_path) == "mean"
    assert distance_of(written | {"hint_distance": "sum"}, tmp_path) == "sum"
    assert distance_of({"method": "byot", "hint_weight": 0.03}, tmp_path) is None
    others = {"method": "dsn", "alpha": None, "hint_weight": None, "temperature": None}
    assert distance_of(written | others, tmp_path) is None
    folder = shutil.copytree(OLD / "self_distill", tmp_path / "old")
    resume(folder, given={"epochs": 2})
    assert yaml.safe_load((folder / "config.yaml").read_text())["hint_distance"] == "mean"
    hints = [r["hint"] for r in read_metrics(folder / "metrics.jsonl") if r["phase"] == "train"]
    before, after = hints[:2], hints[2:]
    assert len(after) == 2
    assert max(after) < 2 * min(before), "the same distance, not as many times it as features"


def test_a_study():
    folder = StudyFolder(OLD / "study")
    study = load_study(folder.study)
    specs = known_trials(study, folder)
    table = trials_table(study, folder, specs)
    assert list(table["status"]) == ["finished"] * 2
    assert list(table["test_accuracy"]) == list(ended_trials(study, folder, specs).values.values())
    assert list(table["test_accuracy"]) == [0.1, 0.05]


def test_what_is_written_says_its_format(kind, old, tmp_path):
    RUNS[kind](old, given={"epochs": 2})
    (manifest,) = old.glob("checkpoints/*/manifest.json")
    for file in (manifest, old / "config.yaml", old / "students" / "0" / "model.json"):
        assert yaml.safe_load(file.read_text())["format"] == 1
    study = load_study(OLD / "study" / "study.yaml")
    (tmp_path / "study.yaml").write_text(to_yaml(study))
    assert yaml.safe_load(to_yaml(study))["format"] == 1
    assert load_study(tmp_path / "study.yaml") == study


def renumber(file, number):
    write = json.dumps if file.suffix == ".json" else yaml.safe_dump
    file.write_text(write({**yaml.safe_load(file.read_text()), "format": number, "new": []}))


def refusal(action):
    with pytest.raises(ConfigError) as caught:
        action()
    return str(caught.value)


@pytest.mark.parametrize("number", [2, 0, "1", True])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("checkpoints/step_00000004/manifest.json", lambda f: resume(f.parents[2])),
        ("students/1/model.json", lambda f: load_student(f.parent)),
        ("students/1/model.json", lambda f: evaluate_run(f.parents[2])),
        ("config.yaml", lambda f: resume(f.parent)),
        ("config.yaml", lambda f: evaluate_run(f.parent)),
        ("study.yaml", load_study),
    ],
    ids=["resume", "student", "evaluate", "resume-config", "evaluate-config", "study"],
)
def test_another_format_is_refused(tmp_path, name, read, number):
    for kind in ("cohort", "study"):
        shutil.copytree(OLD / kind, tmp_path, dirs_exist_ok=True)
    shutil.copy(OLD / "cohort" / "config.yaml", tmp_path)
    file = tmp_path / name
    renumber(file, number)
    said = refusal(lambda: read(file))
    if number == 2:
        assert said == (
            f"{file} is of format 2, but this version of cohort reads formats up to 1; "
            "install a newer cohort"
        )
    else:
        assert said == f"{file}: format is {number!r}; it must be a whole number from 1"


def test_a_newer_config_on_the_command_line(tmp_path):
    file = Path(shutil.copy(OLD / "cohort" / "config.yaml", tmp_path))
    renumber(file, 2)
    code, _, err = here("--config", file)
    assert (code, err.count("\n")) == (2, 1)
    assert f"{file} is of format 2" in err


def test_nobody_goes_back_behind_a_newer_checkpoint(tmp_path):
    for step in (1, 2):
        write_checkpoint(tmp_path, step, [(0, {"a": b"1"})], progress=Progress(), keep=2)
    newest = newest_checkpoint(tmp_path)
    assert newest.step == 2
    renumber(newest.path / "manifest.json", 2)
    assert "format 2" in refusal(lambda: newest_checkpoint(tmp_path))
