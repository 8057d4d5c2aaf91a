"""The cross-entropy of every objective with smoothed labels, by hand."""

import dataclasses
import math

import pytest
import torch

from cohort.models.multi_exit import ExitOutputs
from cohort.objectives.classic import BesideTeacher, ClassicDistillation
from cohort.objectives.mutual import MutualLearning
from cohort.objectives.ods import BesideEnsemble, EnsembleDistillation
from cohort.objectives.self_distillation import MutualSelfDistillation, SelfDistillation

LOGITS_BC = torch.tensor([[1.0, 3.0], [1.0, 1.0]]).log()
"""Posteriors (1/4, 3/4) and (1/2, 1/2)."""
LABELS_B = torch.tensor([1, 0])
CE = (-math.log(0.75) - math.log(0.5)) / 2
SMOOTHED = (-0.9 * math.log(0.75) - 0.1 * math.log(0.25) - math.log(0.5)) / 2
"""With a fifth of each label shared by both classes: 0.9 and 0.1."""
OTHER_BC = LOGITS_BC.flip(1)
OTHER = (-0.9 * math.log(0.25) - 0.1 * math.log(0.75) - math.log(0.5)) / 2
EXITS = ExitOutputs((OTHER_BC, LOGITS_BC), (torch.zeros(2, 3), torch.zeros(2, 3)))
CLASSIC = ClassicDistillation(alpha=0.0, temperature=4.0, hint="none", hint_weight=0.0)
MUTUAL = MutualLearning(teacher="none")
CASES = {
    "mutual": (MUTUAL, LOGITS_BC, SMOOTHED),
    "classic": (CLASSIC, BesideTeacher(LOGITS_BC, (), OTHER_BC, ()), SMOOTHED),
    "exits": (SelfDistillation(alpha=0.0), EXITS, SMOOTHED + OTHER),
    "mutual exits": (MutualSelfDistillation(mutual=MUTUAL, alpha=0.0), EXITS, SMOOTHED + OTHER),
    "ensemble": (
        EnsembleDistillation(method="labels", alpha=0.9, temperature=4.0),
        BesideEnsemble(torch.stack([LOGITS_BC, OTHER_BC]), LOGITS_BC[None], None),
        (SMOOTHED + OTHER) / 2,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_objective_smooths_its_labels(case):
    objective, outputs, expected = CASES[case]
    smoothed = dataclasses.replace(objective, label_smoothing=0.2)
    loss, measured = smoothed.loss(outputs, LABELS_B)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert measured["loss"].item() == loss.item()
    assert measured["ce"].item() == pytest.approx(
        expected if case == "ensemble" else SMOOTHED, rel=1e-6
    )
    if "exits" in case:
        assert measured["exits/ce"].tolist() == pytest.approx([OTHER, SMOOTHED], rel=1e-6)
    assert SMOOTHED > CE + 0.01


def test_teachers_are_not_smoothed():
    """The mimicry loss has no labels: CE changes, KL does not."""
    peers = [OTHER_BC.log_softmax(1)]
    plain, smoothed = MutualLearning(), MutualLearning(label_smoothing=0.2)
    (_, before), (_, after) = (each.loss(LOGITS_BC, LABELS_B, peers) for each in (plain, smoothed))
    assert before["ce"].item() == pytest.approx(CE, rel=1e-6)
    assert after["ce"].item() == pytest.approx(SMOOTHED, rel=1e-6)
    assert after["kl"] == before["kl"] > 0
