"""Studies that train for a second or two, and what is looked up in their folders."""

import dataclasses
import json
import re

import yaml

from cohort import train_cohort
from cohort.config_file import load_config
from cohort.runtime.config import CohortConfig
from cohort.tuning.file.load import load_study

BASE = {
    "dataset": "digits",
    "train_subset": 100,
    "test_subset": 100,
    "batch_size": 10,
    "lr": 0.05,
    "lr_schedule": "constant",
    "epochs": 2,
}
"""Ten steps an epoch, evaluated and saved after each."""
QUICK = {"dataset": "synthetic", "image_size": 8}
"""Read without scikit-learn, which takes a second to import, but not learned as soon as the digits."""


def study_of(folder, base=(), **sections):
    """A study from a file in ``folder``: of launch_cohort, resnet8, one seed, by test_accuracy."""
    cohort = sections.get("command", "launch_cohort") == "launch_cohort"
    document = {
        "command": "launch_cohort",
        "seeds": [0],
        "metric": "test_accuracy",
        "mode": "max",
        **sections,
        "base": {**BASE, **({"students": "resnet8"} if cohort else {}), **dict(base)},
    }
    path = folder / "small.yaml"
    given = {key: value for key, value in document.items() if value is not None}
    path.write_text(yaml.safe_dump(given, sort_keys=False))
    return load_study(path, trust_code=True)


def run_dirs(study_dir):
    """The trials' run folders by their labels."""
    paths = (study_dir / "trials").iterdir()
    return {re.sub(r"\.?seed-0\.\w+$", "", path.name): path for path in paths}


def summary_of(run_dir):
    """What stands in summary.json."""
    return json.loads((run_dir / "summary.json").read_text())


def hashes(run_dir):
    """sha256 of the weights of a finished run's students."""
    summary = summary_of(run_dir)
    assert summary["status"] == "finished", summary
    return [student["weights_sha256"] for student in summary["students"]]


def undisturbed(run_dir, folder):
    """Hashes of the students of a trial's config that nothing disturbs, trained in this process."""
    config = load_config(run_dir / "config.yaml", CohortConfig, {"trust_code": True})
    alone = dataclasses.replace(config, exchange="in_process", run_dir=str(folder))
    return hashes(train_cohort(alone).run_dir)
