"""Code that a file names is not run: nothing of it is imported before somebody says that he trusts it."""

import doctest
import json
import sys

import pytest
import yaml

from cohort import (
    CohortConfig,
    ConfigError,
    OdsConfig,
    SelfDistillConfig,
    load_student,
    load_study,
    ods_distill,
    resume,
    self_distill,
    train_cohort,
    trust,
)
from cohort.analysis.analyse import analyse
from cohort.analysis.evaluate import evaluate_run
from cohort.analysis.options import AnalyseOptions
from cohort.learning.export import export_exit
from cohort.run.finished import load_teachers
from cohort.run.folder import RunFolder
from cohort.tuning.results.noise import noise_rows
from tests.support.command import ODS_DISTILL, SELF_DISTILL, here

MODULE = """
from cohort.data.readers.digits import read
from cohort import CohortConfig
from tests.support.teacher_runs import small as net

def data():
    return read(CohortConfig())
"""
SMALL = {"train_subset": 48, "test_subset": 20, "batch_size": 16, "epochs": 1, "threads": 1}
ENSEMBLE = {"k": 2, "teacher": "none", "exchange": "in_process", **SMALL}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Where somebody left runs, and the module that their files name; who works there runs it not."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "their_code.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        for name, given in {
            "networks": {"students": "their_code:net"},
            "data": {"students": "resnet8", "dataset": "their_code:data"},
        }.items():
            train_cohort(CohortConfig(**ENSEMBLE, **given, run_dir=name))
        job = SelfDistillConfig(
            **SMALL, model="their_code:net", method="none", workers=0, run_dir="alone"
        )
        self_distill(job)
        yield folder


@pytest.fixture
def unloaded(home, monkeypatch):
    """Nobody has imported it, and nobody has when the test ends."""
    monkeypatch.chdir(home)
    monkeypatch.delitem(sys.modules, "their_code", raising=False)
    yield home
    assert "their_code" not in sys.modules, "it was run"


def distil(**options):
    return self_distill(
        SelfDistillConfig(**SMALL, model="resnet8", workers=0, method="kd", **options)
    )


def ods(teachers, **options):
    return ods_distill(OdsConfig(**{**SMALL, "workers": 0, **options}, teachers=teachers))


NET, DATA = "their_code:net", "their_code:data"
DOORS = {
    "load_student": (NET, "networks/students/0/model.json", lambda: load_student("networks/students/0")),
    "evaluate": (NET, "networks/students/0/model.json", lambda: evaluate_run("networks")),
    "evaluate-data": (DATA, "data/config.yaml", lambda: evaluate_run("data")),
    "analyse": (NET, "networks/students/0/model.json",
                lambda: analyse(AnalyseOptions(runs=("networks",), output="out"))),
    "analyse-data": (DATA, "data/config.yaml",
                     lambda: analyse(AnalyseOptions(runs=("data",), output="out"))),
    "noise": (NET, "networks/students/0/model.json", lambda: noise_rows("networks", None)),
    "export": (NET, "networks/students/1/model.json",
               lambda: export_exit("networks/students/1", None, "out", "safetensors")),
    "teacher": (NET, "alone/students/0/model.json", lambda: distil(teacher="alone")),
    "teachers": (NET, "networks/students/0/model.json", lambda: ods("networks")),
    "teachers-of-another": (NET, "networks/students/0/model.json",
                            lambda: ods("networks", model="resnet8")),
    "teachers-data": (DATA, "data/config.yaml", lambda: ods("data")),
    "resume": (NET, "networks/config.yaml", lambda: resume("networks", given={"epochs": 2})),
    "resume-data": (DATA, "data/config.yaml", lambda: resume("data", given={"epochs": 2})),
    "resume-job": (NET, "alone/config.yaml", lambda: resume("alone", given={"epochs": 2})),
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
def test_a_file_s_code_is_not_run(unloaded, door):
    code, file, enter = DOORS[door]
    with pytest.raises(ConfigError) as caught:
        enter()
    assert str(caught.value).startswith(f"{file} names {code!r}, code that runs as soon as")
    assert "--trust-code" in str(caught.value)
    assert "trust_code=True" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (unloaded / "out").exists()


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("launch_cohort.py", ["--config", "networks/config.yaml", "--run-dir", "new"]),
        ("launch_cohort.py", ["--config", "data/config.yaml", "--run-dir", "new"]),
        ("launch_cohort.py", ["--resume", "networks"]),
        (SELF_DISTILL, ["--config", "alone/config.yaml", "--run-dir", "new"]),
        (SELF_DISTILL, ["--method", "kd", "--teacher", "alone", "--workers", 0]),
        (ODS_DISTILL, ["--teachers", "networks", "--workers", 0]),
        ("evaluate.py", ["networks"]),
        ("analyse.py", ["networks", "--output", "out"]),
        ("export.py", ["networks", "--format", "safetensors", "--output", "out"]),
        ("sweep.py", ["study.yaml"]),
    ],
)
def test_nor_by_a_command(unloaded, script, arguments):
    (unloaded / "study.yaml").write_text(STUDY)
    there = set(unloaded.iterdir())
    code, out, err = here(*arguments, script=script)
    assert (code, err.count("\n")) == (2, 1)
    assert out in ("", "reading digits\n")
    assert "names 'their_code:" in err
    assert "--trust-code" in err
    assert set(unloaded.iterdir()) == there


def test_who_trusts_it_has_it_run(home, tmp_path):
    """By every door, and a run that was gone on with says so where it stops."""
    assert load_student("networks/students/0", trust_code=True)
    assert len(evaluate_run("data", trust_code=True).summary["students"]) == 2
    quick = {"analyses": ("noise",), "draws": 1, "examples": 8, "trust_code": True}
    assert analyse(AnalyseOptions(runs=("networks",), output=str(tmp_path / "a"), **quick)).files
    assert export_exit(
        "networks/students/1", None, tmp_path / "out", "safetensors", trust_code=True
    )
    run_dir = str(tmp_path / "distilled")
    taught = ods("networks", steps=1, trust_code=True, run_dir=run_dir)
    assert taught.summary["students"][0]["model"] == "their_code:net+members=2"
    assert len(load_teachers(RunFolder(run_dir), trust_code=True)) == 2
    assert taught.to_resume.endswith(f"ods-distill --resume {run_dir} --trust-code")
    gone_on = resume(run_dir, given={"epochs": 2, "steps": None, "trust_code": True})
    assert gone_on.summary["steps"] == 6


def test_what_the_user_names_himself_is_his_own(home, tmp_path):
    """The file may name it too: it is the same."""
    run_dir = str(tmp_path / "run")
    given = ("--students", "their_code:net", "--run-dir", run_dir)
    assert here("--config", "networks/config.yaml", *given)[0] == 0
    assert here("--resume", run_dir, "--students", "their_code:net", "--epochs", 2)[0] == 0
    code, _, err = here("--resume", run_dir, "--students", "their_code:other")
    assert (code, "--students is their_code:other, but the run" in err) == (2, True)
    assert load_student(f"{run_dir}/students/0", network="their_code:net")


@pytest.mark.parametrize("value", [True, False, None])
def test_no_file_trusts_itself(unloaded, tmp_path, value):
    """Neither a config, which is not written so either, nor a study."""
    config = yaml.safe_load((unloaded / "networks/config.yaml").read_text())
    assert "trust_code" not in config
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**config, "trust_code": value}))
    code, _, err = here("--config", tmp_path / "config.yaml", "--trust-code")
    assert (code, "key 'trust_code' cannot stand in a file" in err) == (2, True)
    study = yaml.safe_load(STUDY)
    study["base"]["trust_code"] = value
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    with pytest.raises(ConfigError, match=r"base\.trust_code sets 'trust_code', which a study dec"):
        load_study(tmp_path / "study.yaml", trust_code=True)


STUDY = """
command: launch_cohort
base: {k: 2, exchange: in_process, students: their_code:net}
space: {lr: {grid: [0.1, 0.2]}}
seeds: [0]
metric: test_accuracy
mode: max
"""


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"base": {"students": ["resnet8", "their_code:net"]}},
        {"base": {"dataset": "their_code:net"}},
        {"base": {"k": 2}, "space": {"students": {"grid": ["resnet8", "their_code:net"]}}},
        {"base": {"k": 2}, "space": {"a": {"zip": {"students": ["their_code:net"], "lr": [0.1]}}}},
        {"base": {"k": 2}, "space": {"a": {"cases": {"x": {"students": "their_code:net+exits"}}}}},
        {
            "runs": {"r": {"command": "self_distill", "model": "their_code:net", "method": "none"}},
            "base": {"method": "kd", "teacher": "run:r"},
            "command": "self_distill",
        },
    ],
)
def test_a_study_names_code_wherever_it_sets_keys(unloaded, tmp_path, changes):
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(STUDY), **changes}))
    with pytest.raises(ConfigError, match=f"^{file} names 'their_code:net', code"):
        load_study(file)
    assert load_study(file, trust_code=True).name == "study"


def test_a_study_s_own_runs_are_no_code(tmp_path):
    """Nor are the axes called as a key is."""
    file = tmp_path / "study.yaml"
    runs = {"r": {"command": "self_distill", "model": "resnet8", "method": "none"}}
    cases = {"a:b": {"teacher": "run:r"}, "c:d": {"teacher": "run:r", "lr": 0.2}}
    changes = {
        "command": "self_distill", "runs": runs, "base": {"method": "kd"},
        "space": {"model": {"cases": cases}},
    }  # fmt: skip
    file.write_text(yaml.safe_dump({**yaml.safe_load(STUDY), **changes}))
    assert load_study(file).runs["r"].values["model"] == "resnet8"


@pytest.mark.parametrize(
    ("network", "is_code"),
    [
        ("resnet8", False), ("timm:vgg11", False), ("resnet8+exits=stages.0", False),
        (" timm:vgg11", False), ("a:b", True), ("a.b:c.d", True), (" a:b", True),
        ("a:b+members=3", True), ("timm.models:vgg11", True), ("cohort.models.resnet:resnet8", True),
        ("torchvision.models:resnet18", True), (":", True), ("<lambda>", False), ("", False),
    ],
)  # fmt: skip
def test_what_is_code(network, is_code):
    """Of our own package too: a module's attributes lead anywhere, such as to ``cohort.imports:os.abort``."""
    assert bool(trust.code_of(network)) is is_code
    assert bool(list(trust.code_in("students", f"resnet8,{network}"))) is is_code


def test_no_data_set_is_timm_s():
    assert list(trust.code_in("dataset", "timm:create_model")) == ["timm:create_model"]
    assert not list(trust.code_in("dataset", "digits"))
    assert not list(trust.code_in("dataset", None))


def test_a_name_is_never_too_long_for_a_sentence(unloaded):
    card = json.loads((unloaded / "networks/students/0/model.json").read_text())
    folder = unloaded / "networks"
    (folder / "long").mkdir(exist_ok=True)
    (folder / "long/model.json").write_text(json.dumps({**card, "network": "a\n:" + "b" * 9000}))
    (folder / "long/model.safetensors").touch()
    with pytest.raises(ConfigError) as caught:
        load_student(folder / "long")
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)


def test_examples_in_docstrings_run():
    results = doctest.testmod(trust)
    assert (results.attempted, results.failed) == (2, 0)
