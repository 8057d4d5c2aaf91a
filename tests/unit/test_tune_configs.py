"""The studies in tune_configs/: both sizes are valid, and the head says what is there."""

import re
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from cohort.config import TrainingConfig
from cohort.data.recipes import fill_in, recipe_for
from cohort.tuning.file.load import load_study
from cohort.tuning.trials import config_of, points_of, prepared_of, trials_of

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tune_configs"
NAMES = (
    "byot_loss_weights",
    "cohort_size",
    "distillation_vs_dml",
    "heterogeneous_pairs",
    "market_cohort_size",
    "market_peers_vs_ensemble",
    "minima",
    "mutual_learning_cpu",
    "mutual_learning_gpu",
    "ods_cpu",
    "ods_eta_tau",
    "ods_gpu",
    "peers_vs_ensemble",
    "self_distillation_cpu",
    "self_distillation_gpu",
)
MOST_SMOKE_TRIALS = 12
OPTIONAL = ("steps", "clip_grad_norm", "threads", "warmup_epochs")
"""Training keys that may be left out: nothing then happens, or nothing that a result depends on."""

each = pytest.mark.parametrize("name", NAMES)
each_size = pytest.mark.parametrize("smoke", [False, True], ids=["full", "smoke"])


@cache
def load(name, smoke):
    return load_study(FOLDER / f"{name}.yaml", smoke=smoke)


def trials(study):
    return [trial for point in points_of(study) for trial in trials_of(study, point)]


def configs(study):
    """Of trials and prepared runs, as they are when every reference is a folder."""
    return [config_of(spec, None, Path("runs")) for spec in (*trials(study), *prepared_of(study))]


def head(name):
    text = (FOLDER / f"{name}.yaml").read_text()
    return re.match(r"(#.*\n)+", text).group()


def test_these_are_all_of_them():
    assert tuple(sorted(path.stem for path in FOLDER.iterdir())) == NAMES


@each
def test_the_head_names_paper_figure_cost_and_commands(name):
    text = head(name)
    assert re.search(r"Mirrors .*(Fig\. \d|[Tt]able)", text)
    assert re.search(r"arXiv \d{4}\.\d{5}", text)
    assert "To expect" in text
    assert re.search(r"Estimated, not\s+(# )?measured", text)
    command = f"#   python scripts/sweep.py tune_configs/{name}.yaml"
    assert text.endswith(f"{command}\n{command} --smoke\n")


@each
def test_the_head_counts_the_trials(name):
    full, smoke = re.findall(r"(?:Size|Smoke): (\d+) trials", head(name))
    assert len(trials(load(name, False))) == int(full)
    assert len(trials(load(name, True))) == int(smoke) <= MOST_SMOKE_TRIALS


@each
def test_the_sizes_differ_in_size_and_name(name):
    full, smoke = load(name, False), load(name, True)
    assert (full.name, smoke.name) == (name, f"{name}-smoke")
    assert len(full.seeds) >= 3
    assert (full.metric, full.mode) == (smoke.metric, smoke.mode)
    assert full.report.metrics == smoke.report.metrics
    people = name.startswith("market_")
    assert {c.dataset for c in configs(full)} <= {
        "market1501" if people else "cifar100",
        "teachers",
    }
    assert {c.dataset for c in configs(smoke)} <= {
        "synthetic-people" if people else "digits",
        "teachers",
    }


@each
def test_a_smoke_run_is_deterministic_and_starts_no_ray_train(name):
    for config in configs(load(name, True)):
        assert config.threads == 1
        assert getattr(config, "workers", 0) == 0


def test_some_smoke_runs_have_actors():
    exchanges = {n: {getattr(c, "exchange", "") for c in configs(load(n, True))} for n in NAMES}
    actors = {name for name, of_trials in exchanges.items() if "object_store" in of_trials}
    assert actors == {"cohort_size", "minima"}


@each
@each_size
def test_every_setting_has_a_baseline(name, smoke):
    study = load(name, smoke)
    known = [dict(point.labels) for point in points_of(study)]
    for labels in known:
        assert labels | dict(study.report.baseline) in known


@each
@each_size
def test_what_is_compared_is_trained_alike(name, smoke):
    study = load(name, smoke)
    keys = {field.name for field in fields(TrainingConfig)} - {"seed"}
    compared = [config_of(trial, None, Path("runs")) for trial in trials(study)]
    alike = [fill_in(c, recipe_for(c.dataset)) for c in compared]
    for key in keys:
        assert len({getattr(config, key) for config in alike}) == 1, key
        assert key in OPTIONAL or getattr(compared[0], key) is not None


@each
@each_size
def test_settings_are_chosen_without_the_test_split(name, smoke):
    study = load(name, smoke)
    tunes = name == "byot_loss_weights" or name.startswith("ods_")
    assert study.metric.startswith("validation_") == tunes
    held_out = {c.validation for c in configs(study) if c.dataset != "teachers"}
    assert held_out.isdisjoint({None}) == tunes
