"""Folders of runs whose students teach: trained ones, and mere descriptions of some."""

import json
from pathlib import Path

import yaml
from torch import nn

from cohort import CohortConfig, train_cohort
from cohort.learning.student_files import ModelCard
from tests.support.exits import conv

SMALL = {
    "dataset": "digits",
    "train_subset": 96,
    "test_subset": 40,
    "batch_size": 32,
    "epochs": 2,
    "threads": 1,
}


def small(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    """Quicker than resnet8, where the network is not the point."""
    return nn.Sequential(
        conv(image_shape[0], 8),
        conv(8, 16, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, num_classes),
    )


def deep_ensemble(run_dir, **options):
    """The folder of a few networks that were trained apart, for moments."""
    values = {"k": 3, "teacher": "none", "exchange": "in_process", "students": "resnet8"}
    config = CohortConfig(**{**SMALL, **values, **options}, run_dir=str(run_dir))
    return str(train_cohort(config).run_dir)


def described(run_dir, networks=("resnet8",) * 3, status="finished", **config):
    """A folder that says what a finished run's would, and has no weights."""
    folder = Path(run_dir)
    for number, network in enumerate(networks):
        student = folder / "students" / str(number)
        student.mkdir(parents=True)
        card = ModelCard(
            network=network,
            dataset=config.get("dataset", "digits"),
            classes=tuple("0123456789"),
            image_shape=(1, 8, 8),
            mean=(0.3,),
            std=(0.4,),
        )
        (student / "model.json").write_text(card.to_json())
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({"dataset": "digits", **config}))
    (folder / "summary.json").write_text(json.dumps({"status": status}))
    return str(folder)
