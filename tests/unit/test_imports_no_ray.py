"""The core and training in one process know no Ray, and --help needs neither Ray nor torch.

One process goes from the lightest to the heaviest, and tells after each step what it has imported:
what a step brings in is not there before it.
"""

import json
import os
import subprocess
import sys

import pytest

from cohort.cli.main import COMMANDS
from tests.support.command import ROOT

HEAVY = {"ray", "torch", "torchvision", "sklearn", "pandas", "matplotlib", "scipy", "optuna"}

ONE_PROCESS = """
import contextlib, importlib, io, json, pkgutil, sys

file = sys.argv[1]
steps = {}

def tell(step, **what):
    steps[step] = what | {"modules": list(sys.modules)}
    with open(file, "w") as told:
        json.dump(steps, told)

def import_all(package):
    package = importlib.import_module(package)
    found = [m.name for m in pkgutil.iter_modules(package.__path__) if not m.ispkg]
    for name in found:
        importlib.import_module(f"{package.__name__}.{name}")
    return len(found)

from cohort.cli.main import COMMANDS, main

for name in ("", *COMMANDS):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            main([*name.split(), "--help"])
        except SystemExit as end:
            assert end.code == 0
    tell(name, out=out.getvalue())

import cohort.tuning
imported = [import_all("cohort.tuning"), import_all("cohort.tuning.file")]
import cohort.tuning.progress
from cohort import Study, load_study
tell("a study is read", imported=imported)

tell("a report", imported=[import_all("cohort.report")])

for name in [name for name in sys.modules if name.partition(".")[0] == "PIL"]:
    del sys.modules[name]  # a report draws; whether batches need it could not be seen

import cohort.data.recipes
tell("a recipe is looked up")

import cohort.data.registry, cohort.data.source
tell("batches are made")

from cohort.models.families import known_networks
from cohort.models.registry import build_network
known_networks()
for name in ("resnet8", "resnet18", "wrn_10_1", "wrn_10_1_ods", "mobilenet", "pyramidnet_20_12"):
    build_network(name, num_classes=10, image_shape=(1, 32, 32))
tell("networks of our own are built")

PACKAGES = ("analysis", "data", "learning", "metrics", "models", "objectives")
tell("the core", imported=[import_all(f"cohort.{package}") for package in PACKAGES])

tell("a study is shown", imported=[import_all("cohort.tuning.results")])

from cohort import CohortConfig, OdsConfig, SelfDistillConfig, load_student
from cohort import ods_distill, self_distill, train_cohort
from cohort.models.early_exit import MultiExitStudent

small = {"steps": 1, "train_subset": 64, "test_subset": 10}
ensemble = train_cohort(
    CohortConfig(teacher="none", exchange="in_process", run_dir="cohort", **small)
)
load_student(ensemble.run_dir / "students" / "0")
tell("a cohort", status=ensemble.summary["status"])

result = self_distill(SelfDistillConfig(workers=0, run_dir="exits", **small))
tell(
    "a job",
    status=result.summary["status"],
    exits=isinstance(result.student(), MultiExitStudent) and result.student().network.num_exits,
)

result = ods_distill(OdsConfig(teachers="cohort", workers=0, steps=1, run_dir="members"))
tell("a student of an ensemble", status=result.summary["status"])
"""


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """What the process told of each step; of those that it did not come to, nothing."""
    cwd = tmp_path_factory.mktemp("imports")
    told = cwd / "told.json"
    done = subprocess.run(
        [sys.executable, "-c", ONE_PROCESS, str(told)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(told.read_text())


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_neither_torch_nor_ray(steps, command):
    assert steps[command]["out"].startswith("usage: cohort")
    assert HEAVY.isdisjoint(steps[command]["modules"])


def test_a_study_is_read_without_torch_and_shown_without_ray(steps):
    tuning, file = steps["a study is read"]["imported"]
    assert tuning > 5
    assert file > 5
    assert HEAVY.isdisjoint(steps["a study is read"]["modules"])
    (results,) = steps["a study is shown"]["imported"]
    assert results > 3
    assert "ray" not in steps["a study is shown"]["modules"]


def test_a_report_needs_files_only(steps):
    (report,) = steps["a report"]["imported"]
    assert report > 10
    assert {"ray", "torch", "matplotlib.pyplot"}.isdisjoint(steps["a report"]["modules"])


def test_data_and_networks_of_our_own_need_little(steps):
    assert "torch" not in steps["a recipe is looked up"]["modules"]
    assert "torch" in steps["batches are made"]["modules"]
    assert {"ray", "torchvision", "sklearn", "PIL"}.isdisjoint(steps["batches are made"]["modules"])
    built = steps["networks of our own are built"]["modules"]
    assert {"ray", "torchvision", "torch._dynamo"}.isdisjoint(built), "a compiler takes two seconds"


def test_the_core_imports_no_ray_and_no_pyplot(steps):
    assert sum(steps["the core"]["imported"]) > 30
    assert "torch" in steps["the core"]["modules"]
    assert "ray" not in steps["the core"]["modules"]
    assert "matplotlib.pyplot" not in steps["the core"]["modules"], "it changes what is global"


@pytest.mark.parametrize("what", ["a cohort", "a job", "a student of an ensemble"])
def test_training_in_one_process_never_imports_ray(steps, what):
    assert steps[what]["status"] == "finished"
    assert "ray" not in steps[what]["modules"]


def test_a_cohort_trains_without_a_compiler(steps):
    assert "torch._dynamo" not in steps["a cohort"]["modules"]


def test_the_job_s_student_has_exits(steps):
    assert steps["a job"]["exits"] == 3
