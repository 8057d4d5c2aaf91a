"""The core and training in one process know no Ray, and --help needs neither Ray nor torch."""

import subprocess
import sys

import pytest

CORE = """
import importlib, pkgutil, sys
import cohort

PACKAGES = ("analysis", "data", "learning", "metrics", "models", "objectives")
imported = 0
for package in PACKAGES:
    package = importlib.import_module(f"cohort.{package}")
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
        imported += 1
assert imported > 30, imported
assert "ray" not in sys.modules, "the core imported Ray"
assert "matplotlib.pyplot" not in sys.modules, "pyplot changes what is global"

from cohort import CohortConfig, load_student, train_cohort

result = train_cohort(
    CohortConfig(exchange="in_process", steps=1, train_subset=64, test_subset=10, run_dir="run")
)
assert result.summary["status"] == "finished"
load_student(result.run_dir / "students" / "0")
assert "ray" not in sys.modules, "a cohort in one process imported Ray"
"""

JOB = """
import sys
from cohort import SelfDistillConfig, self_distill

result = self_distill(
    SelfDistillConfig(workers=0, steps=1, train_subset=64, test_subset=10, run_dir="run")
)
assert result.summary["status"] == "finished"
assert result.student().network.num_exits == 3

from cohort import CohortConfig, OdsConfig, ods_distill, train_cohort

train_cohort(
    CohortConfig(
        teacher="none", exchange="in_process", steps=1, train_subset=64, test_subset=10, run_dir="de"
    )
)
ods_distill(OdsConfig(teachers="de", workers=0, steps=1, run_dir="ods"))
assert "ray" not in sys.modules, "a job in this process imported Ray"
"""

STUDIES = """
import importlib, pkgutil, sys
import cohort.tuning

HEAVY = {"ray", "torch", "torchvision", "sklearn", "pandas", "matplotlib", "scipy", "optuna"}

def import_all(package):
    package = importlib.import_module(package)
    names = [m.name for m in pkgutil.iter_modules(package.__path__) if not m.ispkg]
    for name in names:
        importlib.import_module(f"{package.__name__}.{name}")
    return len(names)

assert import_all("cohort.tuning") > 5 and import_all("cohort.tuning.file") > 5
import cohort.reporting.study_progress
from cohort import Study, load_study
assert not HEAVY & set(sys.modules), sorted(HEAVY & set(sys.modules))
assert import_all("cohort.tuning.results") > 3
assert "ray" not in sys.modules
"""

HELP = """
import runpy, sys
sys.argv = [{script!r}, "--help"]
try:
    runpy.run_path({script!r}, run_name="__main__")
except SystemExit as end:
    assert end.code == 0
heavy = {{"ray", "torch", "torchvision", "sklearn", "pandas", "matplotlib"}} & set(sys.modules)
assert not heavy, sorted(heavy)
"""


def run(code, cwd):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_core_and_a_cohort_in_one_process_never_import_ray(tmp_path):
    run(CORE, tmp_path)


def test_a_job_without_workers_never_imports_ray(tmp_path):
    run(JOB, tmp_path)


def test_a_study_is_read_without_torch_and_shown_without_ray(tmp_path):
    run(STUDIES, tmp_path)


@pytest.mark.parametrize(
    ("script", "a_flag"),
    [
        ("launch_cohort", "--mimicry-weight"),
        ("self_distill", "--exits"),
        ("ods_distill", "--teacher-pool"),
        ("evaluate", "--ensemble-weights"),
        ("export", "--format"),
        ("analyse", "--sigmas"),
        ("sweep", "--study-dir"),
        ("bench_cohort", "--rounds"),
        ("bench_self_distill", "--rounds"),
        ("bench_ods", "--stacked-teachers"),
    ],
)
def test_help_imports_neither_torch_nor_ray(script, a_flag, tmp_path, request):
    file = request.config.rootpath / "scripts" / f"{script}.py"
    assert a_flag in run(HELP.format(script=str(file)), tmp_path)
