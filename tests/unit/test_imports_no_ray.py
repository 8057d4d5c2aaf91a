"""The core knows no Ray, and --help needs neither Ray nor torch."""

import subprocess
import sys

CORE = """
import importlib, pkgutil, sys
import cohort, cohort.data, cohort.learning, cohort.metrics, cohort.models, cohort.objectives

imported = 0
for package in (cohort.data, cohort.learning, cohort.metrics, cohort.models, cohort.objectives):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
        imported += 1
assert imported > 20, imported
assert "ray" not in sys.modules, "the core imported Ray"

from cohort import CohortConfig, load_student, train_cohort

result = train_cohort(
    CohortConfig(exchange="in_process", steps=1, train_subset=64, test_subset=10, run_dir="run")
)
assert result.summary["status"] == "finished"
load_student(result.run_dir / "students" / "0")
assert "ray" not in sys.modules, "a cohort in one process imported Ray"
"""

HELP = """
import runpy, sys
sys.argv = ["launch_cohort.py", "--help"]
try:
    runpy.run_path({script!r}, run_name="__main__")
except SystemExit as end:
    assert end.code == 0
heavy = sorted({{"ray", "torch", "torchvision", "sklearn"}} & set(sys.modules))
assert not heavy, heavy
"""


def run(code, cwd):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_core_and_a_cohort_in_one_process_never_import_ray(tmp_path):
    run(CORE, tmp_path)


def test_help_imports_neither_torch_nor_ray(tmp_path, request):
    script = request.config.rootpath / "scripts" / "launch_cohort.py"
    assert "--mimicry-weight" in run(HELP.format(script=str(script)), tmp_path)
