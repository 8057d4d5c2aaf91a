"""Learners of small networks on a few digits."""

import pytest
import torch
from torch import nn

from cohort.data.dataset import ImageDataset
from cohort.data.registry import load_dataset
from cohort.learning.build import build_learner
from cohort.learning.plan import TrainingPlan, plan_training
from cohort.objectives.mutual import MutualLearning
from cohort.runtime.config import CohortConfig, resolve

CPU = torch.device("cpu")


def bare_plan(*, steps=100, **keys):
    """A plan of so many steps, for what looks at a few of its numbers only."""
    plan = {
        "batch_size": 16, "lr": 0.1, "weight_decay": 0.0, "optimizer": "sgd", "lr_schedule": "constant",
        "steps_per_epoch": steps, "schedule_steps": steps, "total_steps": steps, "log_every": 1,
        "eval_every": steps, "checkpoint_every": steps,
    }  # fmt: skip
    return TrainingPlan(**{**plan, **keys})


def plan_of(dataset, **options):
    config = resolve(CohortConfig(**{"batch_size": 16, "epochs": 10, **options}))
    return plan_training(config, len(dataset.train))


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset(CohortConfig(train_subset=80, test_subset=40), seed=0)


def learner_of(dataset, network="resnet8", *, student=0, objective=None, **options):
    return build_learner(
        network, plan_of(dataset, **options), dataset, objective or MutualLearning(),
        student=student, device=CPU,
    )  # fmt: skip


def small(num_classes):
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(72, num_classes),
    )


def with_dropout(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, num_classes))


def run(learner, steps, *, peer=None):
    """Train over ``steps``, with a constant peer if one is given."""
    for step in steps:
        learner.predict(step)
        learner.learn(step, [peer] if peer is not None else ())
