"""The file of a study: what it means."""

import copy
import subprocess
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cohort.errors import ConfigError
from cohort.tuning.axes import Cases, Grid, LogUniform, Zip
from cohort.tuning.file.load import to_yaml
from cohort.tuning.file.smoke import with_smoke
from cohort.tuning.report import HeatmapFigure, LinesFigure, Report
from cohort.tuning.study import (
    Asha,
    GridSearch,
    NoScheduler,
    PreparedRun,
    RandomSearch,
    Resources,
    Study,
)
from tests.support.study_files import ARMS, DRAWN, GRID, OPTUNA, changed, load


def test_a_grid_means_what_it_says(tmp_path):
    assert load(tmp_path, GRID) == Study(
        name="study",
        command="launch_cohort",
        base={"dataset": "digits", "epochs": 2, "lr": 0.1},
        space={"k": Grid((1, 2, 3)), "teacher": Grid(("peers", "none"))},
        without=({"k": 1, "teacher": "peers"},),
        seeds=(0, 1),
        metric="test_accuracy",
        mode="max",
        scheduler=NoScheduler(),
        search=GridSearch(),
        resources=Resources(),
        max_concurrent=None,
        max_failures=3,
        report=Report(
            baseline={"k": 1, "teacher": "none"},
            metrics=("test_accuracy", "ensemble_test_nll", "train_entropy"),
            figure=LinesFigure(x="k", series="teacher", y=("test_accuracy",)),
        ),
    )


def test_arms_may_be_of_different_commands(tmp_path):
    study = load(tmp_path, ARMS)
    assert study.command is None
    values = {"k": 1, "teacher": "none", "students": "resnet14"}
    assert study.runs == {"wide": PreparedRun("launch_cohort", values)}
    assert study.space["size"] == Zip({"batch_size": (32, 64), "lr": (0.05, 0.1)})
    assert isinstance(study.space["arm"], Cases)
    assert study.resources == Resources(cpus=0.5, gpus=0)
    assert study.report.metrics == ("test_nll",)
    assert study.report.figure == HeatmapFigure(x="batch_size", y="arm", value="test_nll")


def test_draws_and_a_scheduler(tmp_path):
    study = load(tmp_path, DRAWN)
    assert study.search == RandomSearch(samples=4, seed=1)
    assert study.space["lr"] == LogUniform(0.01, 0.3)
    assert study.scheduler == Asha(grace_epochs=2, reduction_factor=3)


@pytest.mark.parametrize("text", [GRID, ARMS, DRAWN])
def test_what_is_written_is_read_again(text, tmp_path):
    study = load(tmp_path, text)
    written = to_yaml(study)
    assert load(tmp_path, written) == study
    assert "smoke" not in yaml.safe_load(written)


def test_a_smoke_run_is_called_so_and_merged(tmp_path):
    study = load(tmp_path, GRID, smoke=True)
    assert study.name == "study-smoke"
    assert study.base == {"dataset": "digits", "epochs": 1, "lr": 0.1}
    assert study.space == {"k": Grid((1, 2)), "teacher": Grid(("peers", "none"))}
    assert study.seeds == (0,)


def test_smoke_replaces_axes_and_sections_whole_and_null_removes():
    document = {
        "runs": {"wide": {"command": "launch_cohort", "epochs": 9}},
        "space": {"a": {"cases": {"x": {"k": 1}, "y": {"k": 2}}}, "k": {"grid": [1]}},
        "scheduler": {"kind": "asha", "grace_epochs": 3},
        "report": {
            "baseline": {"k": 1, "a": "x"},
            "metrics": ["test_nll"],
            "figure": {"kind": "bars", "y": ["test_nll"]},
        },
        "max_concurrent": 2,
    }
    before = copy.deepcopy(document)
    changes = {
        "runs": {"wide": {"epochs": 1}},
        "space": {"a": {"cases": {"z": {"k": 3}}}, "k": None},
        "scheduler": {"kind": "none"},
        "report": {
            "baseline": {"k": None, "a": "z"},
            "figure": {"kind": "lines", "x": "a", "y": ["test_nll"]},
        },
        "max_concurrent": None,
    }
    assert with_smoke(document, changes) == {
        "runs": {"wide": {"command": "launch_cohort", "epochs": 1}},
        "space": {"a": {"cases": {"z": {"k": 3}}}},
        "scheduler": {"kind": "none"},
        "report": {
            "baseline": {"a": "z"},
            "metrics": ["test_nll"],
            "figure": changes["report"]["figure"],
        },
    }
    assert document == before


KEYS = st.sampled_from(["base", "space", "seeds", "runs", "mode"])
SECTIONS = st.dictionaries(KEYS, st.dictionaries(st.sampled_from("abc"), st.integers()))


@given(SECTIONS, SECTIONS)
def test_smoke_merging_is_idempotent_and_keeps_what_it_does_not_name(document, changes):
    merged = with_smoke(document, changes)
    assert with_smoke(merged, changes) == merged
    assert with_smoke(document, {}) == document
    assert set(merged) == set(document) | set(changes)
    assert all(merged[key] == document[key] for key in set(document) - set(changes))
    for key in {"base", "space", "runs"} & set(document) & set(changes):
        assert merged[key] == document[key] | changes[key]


def test_a_config_key_that_begins_like_a_measurement_may_be_an_axis(tmp_path):
    document = changed(GRID, "space/test_subset", {"grid": [10, 20]})
    assert load(tmp_path, document).space["test_subset"] == Grid((10, 20))


def test_optuna_takes_drawn_axes_and_several_seeds_or_a_scheduler(tmp_path):
    assert load(tmp_path, OPTUNA | {"seeds": [0, 1]}).search.kind == "optuna"
    assert load(tmp_path, OPTUNA | {"scheduler": {"kind": "asha"}}).scheduler == Asha()


def test_validation_may_be_held_out_by_base_or_by_the_teachers_run(tmp_path):
    document = changed(GRID, "metric", "validation_nll")
    document["base"]["validation"] = 100
    assert load(tmp_path, document).metric == "validation_nll"
    some = changed(GRID, "space/validation", {"grid": [None, 100]})
    some["report"]["metrics"] = ["validation_nll"]
    assert load(tmp_path, some).report.metrics == ("validation_nll",)
    with pytest.raises(ConfigError, match="metric is 'validation_nll', but no images are held out"):
        load(tmp_path, some | {"metric": "validation_nll"})
    run = {"command": "launch_cohort", "k": 2, "teacher": "none", "validation": 100}
    ods = {
        "command": "ods_distill",
        "base": {"teachers": "run:de"},
        "runs": {"de": run},
        "seeds": [0],
        "metric": "validation_nll",
        "mode": "min",
    }
    assert load(tmp_path, ods).runs["de"].values["validation"] == 100
    del run["validation"]
    with pytest.raises(ConfigError, match="metric is 'validation_nll', but no images are held out"):
        load(tmp_path, ods)


def test_reading_a_study_imports_neither_torch_nor_ray(tmp_path):
    (tmp_path / "arms.yaml").write_text(ARMS)
    code = (
        "import sys; from cohort.tuning import folder, trials;"
        "from cohort.tuning.file import load;"
        "s = load.load_study('arms.yaml'); assert len(trials.points_of(s)) == 4;"
        "heavy = {'ray', 'torch', 'pandas', 'sklearn', 'scipy', 'matplotlib', 'optuna'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
