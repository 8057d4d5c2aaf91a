"""Each analysis on networks whose every answer is known, so that its table is known as well."""

import itertools
import json
import math

import numpy as np
import pytest
import torch

from cohort.analysis.analyses import (
    agreement,
    diversity,
    early_exit,
    gradients,
    jacobian,
    noise,
    posterior,
    ranking,
    reliability,
    separability,
    transfer,
)
from cohort.analysis.analyses.perturbed import perturbation
from cohort.analysis.groups import Subject
from cohort.analysis.options import AnalyseOptions
from cohort.analysis.separability import features_over
from cohort.data.dataset import GALLERY, QUERY, ImageDataset, Search, Split
from cohort.objectives.self_distillation import SelfDistillation
from tests.support.exits import tiny_student
from tests.support.subjects import constant, subject

CPU = torch.device("cpu")
KL = (
    0.5 * math.log(0.5 / 0.8)
    + 0.5 * math.log(0.5 / 0.2)
    + 0.8 * math.log(1.6)
    + 0.2 * math.log(0.4)
) / 2
"""The mean divergence between (0.5, 0.5) and (0.8, 0.2), in both directions."""


def options(**more):
    return AnalyseOptions(runs=("run",), **{"draws": 2, "examples": 64} | more)


def rows_of(analysis, subjects, **more):
    return analysis.analyse(subjects, options(**more), CPU).rows


def column(rows, name, **where):
    return [row[name] for row in rows if all(row[key] == value for key, value in where.items())]


@pytest.fixture(scope="module")
def pair():
    return subject([constant(0.5, 0.5), constant(0.8, 0.2)])


def test_noise(pair):
    rows = rows_of(noise, [pair], sigmas=(0.0, 30.0))
    assert column(rows, "student") == [0, 0, 1, 1]
    even, sure = column(rows, "loss_mean", sigma=0.0)
    assert even == pytest.approx(math.log(2))
    assert sure == pytest.approx(-(3 * math.log(0.8) + math.log(0.2)) / 4)
    # All images are alike, so that whatever the noise all are given one class: three or one is right.
    assert set(np.array(column(rows, "accuracy_mean", sigma=30.0)) * 8) <= {2, 4, 6}


def test_posterior():
    of = subject([constant(0.1, 0.2, 0.7), constant(1 / 3, 1 / 3, 1 / 3)], [0, 1, 2], seed=7)
    rows = rows_of(posterior, [of])
    assert column(rows, "mean_posterior", student=0) == pytest.approx([0.7, 0.2, 0.1])
    assert column(rows, "mean_posterior", student=1) == pytest.approx([1 / 3] * 3)
    entropy = -(0.1 * math.log(0.1) + 0.2 * math.log(0.2) + 0.7 * math.log(0.7))
    assert column(rows, "mean_entropy", rank=1) == pytest.approx([entropy, math.log(3)])
    assert set(column(rows, "seed")) == {7}


def test_no_more_than_five_ranks():
    rows = rows_of(posterior, [subject([constant(*[1 / 8] * 8)], range(8))])
    assert column(rows, "rank") == [1, 2, 3, 4, 5]


def test_gradients():
    """∂L/∂W = (p - y) xᵀ, with pixels of 1 and one label: |p - y| on average."""
    rows = rows_of(gradients, [subject([constant(0.75, 0.25), constant(0.5, 0.5)], [0] * 4)])
    assert column(rows, "mean_abs_gradient") == pytest.approx([0.25, 0.5])
    assert column(rows, "depth") == [1, 1]


def test_the_weights_of_self_distillation_are_the_runs_own_unless_flags_say_otherwise():
    own = {"alpha": 0.5, "hint_weight": 0.25, "temperature": 2.0}
    for written in (
        {},
        {"hint_distance": "mean"},
    ):  # an earlier version wrote nothing, and had the mean
        before = subject([], method="byot", **own, **written).run
        expected = SelfDistillation(**own, hint_distance="mean")
        assert gradients.objective_of(before, options()) == expected
    byot = subject([], method="byot", **own, hint_distance="sum").run
    assert gradients.objective_of(byot, options()) == SelfDistillation(**own)
    told = options(alpha=0.0, hint_weight=0.0)
    assert gradients.objective_of(byot, told) == SelfDistillation(
        alpha=0.0, hint_weight=0.0, temperature=2.0
    )
    # Distillation from a teacher has an alpha and a temperature too, of another loss.
    for method in ("kd", "dsn", None):
        other = subject([], method=method, **own).run
        assert gradients.objective_of(other, options()) == SelfDistillation()


def test_equal_students_agree_and_differ_in_nothing(pair, tmp_path):
    equal = subject([constant(0.7, 0.3)] * 3)
    of_all = [row for row in rows_of(diversity, [equal]) if row["bin"] is None]
    assert [row["diversity"] for row in of_all] == pytest.approx([0] * 8, abs=1e-12)


def test_agreement_is_read_from_the_records(tmp_path):
    told = {"time": 0.0, "phase": "test", "student": "ensemble"}
    records = [
        {**told, "step": 5, "epoch": 0.5, "agreement": 0.75, "pairwise_kl": 0.5},
        {
            **told,
            "step": 5,
            "epoch": 0.5,
            "agreement": 0.25,
            "pairwise_kl": 9,
            "phase": "validation",
        },
        {**told, "step": 5, "epoch": 0.5, "student": 0, "accuracy": 0.5},
        {**told, "step": 10, "epoch": 1, "agreement": 1.0, "pairwise_kl": None},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    rows = rows_of(agreement, [subject([], folder=tmp_path)])
    assert column(rows, "epoch") == [0.5, 1]
    assert column(rows, "agreement") == [0.75, 1.0]
    kl, infinite = column(rows, "pairwise_kl")
    assert kl == 0.5
    assert math.isnan(infinite)  # which no JSON has
    assert agreement.told(subject([], folder=tmp_path / "gone").run) == []


def test_reliability_of_the_calibrated_and_of_the_too_sure():
    """Three of four images are right: 0.75 is as sure as it should be, 0.9 too sure by 0.15."""
    both = subject([constant(0.75, 0.25), constant(0.9, 0.1)], held_out=True)
    rows = rows_of(reliability, [both])
    whole = [row for row in rows if row["count"]]
    eces = {(row["student"], row["posterior"]): row["ece"] for row in whole}
    assert eces[0, "as trained"] == pytest.approx(0, abs=1e-6)
    assert eces[1, "as trained"] == pytest.approx(0.15, abs=1e-6)
    assert eces["ensemble", "as trained"] == pytest.approx(0.075, abs=1e-6)
    for who in (0, 1, "ensemble"):
        assert eces[who, "at temperature"] == pytest.approx(0, abs=1e-4)
    assert [(row["confidence"], row["accuracy"]) for row in whole[:1]] == [
        (pytest.approx(0.75), 0.75)
    ]
    temperature = math.log(9) / math.log(3)  # which turns odds of 9 to 1 into 3 to 1
    tempered = column(rows, "temperature", student=1, posterior="at temperature")
    assert tempered == pytest.approx([temperature] * 15, rel=1e-3)


def test_reliability_without_a_validation_split_or_an_ensemble():
    rows = rows_of(reliability, [subject([constant(0.75, 0.25)])])
    assert {(row["student"], row["posterior"]) for row in rows} == {(0, "as trained")}


def test_diversity(pair):
    rows = rows_of(diversity, [pair])
    of_all = [row for row in rows if row["bin"] is None]
    # No gradient, and so no step, of a posterior that is the same everywhere; noise changes nothing.
    assert [row["diversity"] for row in of_all] == pytest.approx([KL] * 8)
    assert [row["factor_over_clean"] for row in of_all] == pytest.approx([1] * 8)
    # The mean posterior is (0.65, 0.35), in the tenth of fifteen bins.
    full = [row["bin"] for row in rows if row["bin"] is not None and row["count"]]
    assert full == [10] * 8


def test_transfer():
    """Of three members only those left out change the diversity of the others, and none reacts."""
    three = subject([constant(0.5, 0.5), constant(0.8, 0.2), constant(0.8, 0.2)])
    rows = rows_of(transfer, [three])
    assert column(rows, "inputs") == ["clean", "gaussian", "ods", "ods", "ods"]
    assert column(rows, "diversity") == pytest.approx([KL * 2 / 3] * 5)
    others = column(rows, "diversity_others")[2:]
    assert others == pytest.approx([0, KL, KL])
    moved = [row[f"kl_to_clean_{member}"] for row in rows for member in range(3)]
    assert moved == pytest.approx([0] * 15, abs=1e-12)


def test_perturbed_inputs_are_the_runs_own_unless_flags_say_otherwise():
    ods = subject([], eta=2.0, tau=4.0, ods_norm="l2").run
    found = perturbation("ods", options(), ods)
    assert (found.kind, found.eta, found.temperature, found.norm) == ("ods", 2.0, 4.0, "l2")
    told = perturbation("ods", options(eta=3.0, norm="rms"), ods)
    assert (told.eta, told.temperature, told.norm) == (3.0, 4.0, "rms")
    plain = perturbation("gaussian", options(), subject([], eta=None).run)
    assert (plain.eta, plain.temperature, plain.norm) == (1.0, 1.0, "rms")


def test_jacobians_of_students_that_are_their_teachers(monkeypatch):
    torch.manual_seed(0)
    networks = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)).eval() for _ in "ab"]
    monkeypatch.setattr(jacobian, "load_teachers", lambda folder, trust_code: tuple(networks))
    rows = rows_of(jacobian, [subject(networks)])
    assert column(rows, "own_teacher") == [True, False, False, True]
    assert column(rows, "relative_error", own_teacher=True) == pytest.approx([0, 0], abs=1e-9)
    assert column(rows, "cosine", own_teacher=True) == pytest.approx([1, 1])


def test_whom_students_find():
    """One query: the nearest picture is of another person, the second the right one."""
    people, cameras = np.array([7, 8, 7, 9]), np.array([1, 2, 2, 2])
    roles = np.array([QUERY, GALLERY, GALLERY, GALLERY], np.int8)
    search = Search(np.zeros((4, 1, 2, 2), np.uint8), people, cameras, roles)
    features = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    rows = ranking.match_rows(search, features, "euclidean", CPU)
    assert [row["match_rate"] for row in rows] == [0.0] + [1.0] * 19


@pytest.fixture(scope="module")
def with_exits():
    """Two students with three exits each, and 12 images of two classes."""
    images = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8)).astype(np.uint8)
    split = Split(images, np.arange(12) % 2)
    data = ImageDataset(name="random", train=split, test=split, classes=tuple("abcde"))
    plain = subject([tiny_student(0), constant(0.5, 0.5), tiny_student(1)])
    return Subject(plain.run._replace(dataset=data), "run")


def test_separability_of_every_student(with_exits):
    found = separability.analyse([with_exits], options(), CPU)
    assert [(row["student"], row["exit"]) for row in found.rows] == list(
        itertools.product([0, 2], [1, 2, 3])
    )
    split = with_exits.run.dataset.test
    deepest_NF = features_over(with_exits.run.students[2], split, CPU)[-1].double().numpy()
    parts = [deepest_NF[split.labels == label] for label in (0, 1)]
    within = sum(((part - part.mean(0)) ** 2).sum() for part in parts)
    between = sum(6 * ((part.mean(0) - deepest_NF.mean(0)) ** 2).sum() for part in parts)
    assert found.rows[-1]["ratio"] == pytest.approx(within / between, rel=1e-4)
    assert list(found.figures) == [
        "separability", "separability-features-student0", "separability-features-student2"
    ]  # fmt: skip


def test_early_exit_begins_at_the_first_exit_and_ends_at_the_deepest(with_exits):
    rows = rows_of(early_exit, [with_exits])
    for student in (0, 2):
        fixed = {r["exit"]: r for r in rows if r["student"] == student and r["exit"]}
        by_threshold = {
            r["threshold"]: r for r in rows if r["student"] == student and not r["exit"]
        }
        assert list(fixed) == [1, 2, 3]
        first, last = by_threshold[0], by_threshold[1]
        assert first["mean_multiply_adds"] == fixed[1]["mean_multiply_adds"]
        assert (first["accuracy"], last["accuracy"]) == (fixed[1]["accuracy"], fixed[3]["accuracy"])
        # Convolutions on the way, the exit's own branch, and its classifier: numerics/test_cost.py.
        assert [fixed[e]["mean_multiply_adds"] for e in fixed] == [
            2304 + 832 + 40, 2304 + 3456 + 320 + 40, 2304 + 3456 + 1728 + 40
        ]  # fmt: skip
