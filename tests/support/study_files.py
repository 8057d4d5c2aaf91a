"""Documents of studies, and what is read from them."""

import copy
from functools import cache

import yaml

from cohort.tuning.file.load import load_study

GRID = """
command: launch_cohort
base: {dataset: digits, epochs: 2, lr: 1e-1}
space:
  k: {grid: [1, 2, 3]}
  teacher: {grid: [peers, none]}
without: [{k: 1, teacher: peers}]
seeds: [0, 1]
metric: test_accuracy
mode: max
report:
  baseline: {k: 1, teacher: none}
  metrics: [test_accuracy, ensemble_test_nll, train_entropy]
  figure: {kind: lines, x: k, series: teacher, y: [test_accuracy]}
smoke: {base: {epochs: 1}, space: {k: {grid: [1, 2]}}, seeds: [0]}
"""

ARMS = """
base: {dataset: digits}
runs: {wide: {command: launch_cohort, k: 1, teacher: none, students: resnet14}}
space:
  size: {zip: {batch_size: [32, 64], lr: [0.05, 0.1]}}
  arm:
    cases:
      alone: {command: launch_cohort, k: 1, teacher: none}
      distilled: {command: self_distill, method: kd, teacher: "run:wide"}
seeds: [3]
metric: test_nll
mode: min
resources: {cpus: 0.5, gpus: 0}
report:
  figure: {kind: heatmap, x: batch_size, y: arm, value: test_nll}
"""

DRAWN = """
command: launch_cohort
base: {dataset: digits, mimicry_weight: 1}
space:
  lr: {loguniform: [1e-2, 0.3]}
  k: {grid: [2, 3]}
seeds: [0]
metric: test_accuracy
mode: max
search: {kind: random, samples: 4, seed: 1}
scheduler: {kind: asha, grace_epochs: 2}
"""


def load(tmp_path, document, **options):
    file = tmp_path / "study.yaml"
    file.write_text(
        document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False)
    )
    return load_study(file, **options)


@cache
def _parsed(text):
    return yaml.safe_load(text)


def parsed(text):
    """The document, which may be changed."""
    return copy.deepcopy(_parsed(text))


def changed(text, path, value):
    """The document with the value at a dotted path replaced; ``...`` removes the key."""
    document = parsed(text)
    *way, last = path.split("/")
    section = document
    for key in way:
        section = section.setdefault(key, {})
    if value is ...:
        del section[last]
    else:
        section[last] = value
    return document


OPTUNA = changed(DRAWN, "search/kind", "optuna") | {"scheduler": {"kind": "none"}}
del OPTUNA["space"]["k"]

TIMING_COLUMNS = ["wall_seconds", "images_per_second", "restarts"]
"""Columns of the table of trials in which two equal trials differ."""


def comparable(table):
    """The table of trials without what differs between two equal ones."""
    return table.drop(columns=TIMING_COLUMNS)
