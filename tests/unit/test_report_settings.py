"""A run's configuration beside its recipe, and commands that repeat it."""

import shlex

import pytest

from cohort import CohortConfig, SelfDistillConfig
from cohort.cli.parser import parse
from cohort.config_file import plain_values
from cohort.jobs.self_distill.config import resolve as resolve_self
from cohort.report.reading import RunFiles
from cohort.report.settings import repeat_by_file, repeat_by_flags, settings
from cohort.run.folder import RunFolder
from cohort.runtime.config import resolve

CHANGED = {
    "a cohort": CohortConfig(
        k=3, students="resnet8,wrn_10_1, mine:net", lr=0.3, seed=4, download=True, image_size="32x16",
        steps=7, temperature=2.0, hang_after=60.0, crop="shift", data_root="my data",
    ),
    "a longer one": CohortConfig(dataset="cifar100", epochs=400, baseline=True, weight_decay=0.0),
    "a job": SelfDistillConfig(method="kd", teacher="runs/a b", alpha=0.5, workers=0, warmup_epochs=1.0),
    "exits": SelfDistillConfig(dataset="cifar100", exits="stages.0,stages.1", temperature=4.0),
}  # fmt: skip


def run_of(config, folder="runs/a"):
    values = plain_values(resolved(config))
    return RunFiles(folder=RunFolder(folder), name="a", config=values)


def resolved(config):
    return resolve(config) if isinstance(config, CohortConfig) else resolve_self(config)


@pytest.mark.parametrize("config", CHANGED.values(), ids=list(CHANGED))
def test_the_flags_make_the_same_run(config):
    words = shlex.split(repeat_by_flags(run_of(config)))
    start = words.index("train" if isinstance(config, CohortConfig) else "self-distill")
    again = parse(type(config), "", words[start + 1 :]).config
    assert plain_values(resolved(again)) == plain_values(resolved(config))


def test_what_is_as_the_recipe_has_it_is_not_marked():
    for config in (CohortConfig(), CohortConfig(dataset="cifar100"), SelfDistillConfig()):
        assert not [setting for setting in settings(run_of(config)) if setting.differs]


def test_what_is_not_is_marked_with_what_would_be():
    changed = CohortConfig(dataset="cifar100", lr=0.05, epochs=100, students="resnet20")
    found = {s.key: (s.value, s.usual) for s in settings(run_of(changed)) if s.differs}
    assert found == {"lr": (0.05, 0.1), "epochs": (100, 200), "students": ("resnet20", "resnet32")}


def test_code_that_a_run_names_is_trusted_in_its_command_only():
    trusting = repeat_by_file(run_of(CHANGED["a cohort"], "my runs/a"))
    assert trusting.endswith("train --config 'my runs/a/config.yaml' --trust-code")
    assert "--trust-code" not in repeat_by_file(run_of(CHANGED["a job"]))
