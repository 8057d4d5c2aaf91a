"""Costs of exits against a count by hand."""

import torch

from cohort.analysis.cost import ExitCost, cost_together, exit_costs, multiply_adds
from cohort.learning.beside_teacher import AllExits
from cohort.models.registry import build_network
from tests.support.exits import IMAGE_SHAPE, tiny_student

# Sections: output pixels x output channels x 3 x 3 x input channels.
SECTIONS = [64 * 4 * 9 * 1, 16 * 6 * 9 * 4, 4 * 8 * 9 * 6]
# 1 x 1 to 2 channels on the exit's map; k x k to the last map's 2 x 2; 1 x 1 to 8 features.
BRANCHES = [64 * 2 * 4 + 4 * 2 * 16 * 2 + 4 * 8 * 2, 16 * 2 * 6 + 4 * 2 * 4 * 2 + 4 * 8 * 2, 0]
CLASSIFIER = 8 * 5
# Weights, a section's biases, and the two parameters of each batch normalisation's channels.
SECTION_PARAMETERS = [4 * 9 + 4 + 8, 6 * 4 * 9 + 6 + 12, 8 * 6 * 9 + 8 + 16]
NORMS = 2 * (2 + 2 + 8)
BRANCH_PARAMETERS = [2 * 4 + 2 * 2 * 16 + 8 * 2 + NORMS, 2 * 6 + 2 * 2 * 4 + 8 * 2 + NORMS, 0]
CLASSIFIER_PARAMETERS = 8 * 5 + 5


def test_every_exit_by_hand():
    assert exit_costs(tiny_student(), IMAGE_SHAPE) == [
        ExitCost(
            exit=i + 1,
            parameters=sum(SECTION_PARAMETERS[: i + 1])
            + BRANCH_PARAMETERS[i]
            + CLASSIFIER_PARAMETERS,
            multiply_adds=sum(SECTIONS[: i + 1]) + BRANCHES[i] + CLASSIFIER,
            own_parameters=BRANCH_PARAMETERS[i] + CLASSIFIER_PARAMETERS,
            own_multiply_adds=BRANCHES[i] + CLASSIFIER,
        )
        for i in range(3)
    ]


def test_all_exits_together_are_one_pass_of_all_exits():
    student = tiny_student()
    parameters, adds = cost_together(exit_costs(student, IMAGE_SHAPE), [1, 2, 3])
    assert adds == multiply_adds(AllExits(student), torch.zeros(1, *IMAGE_SHAPE))
    assert parameters == sum(p.numel() for p in student.parameters())


def test_some_exits_together():
    costs = exit_costs(tiny_student(), IMAGE_SHAPE)
    assert cost_together(costs, [2]) == (costs[1].parameters, costs[1].multiply_adds)
    _, adds = cost_together(costs, [1, 3])
    assert adds == costs[2].multiply_adds + BRANCHES[0] + CLASSIFIER


def test_resnet32_has_the_multiply_adds_that_are_known():
    # He et al. give no count; by hand: stem, 3 stages of 5 blocks, of which two start at stride 2.
    stem = 32 * 32 * 16 * 9 * 3
    first = 10 * 32 * 32 * 16 * 9 * 16
    second = 16 * 16 * 32 * 9 * (16 + 9 * 32)
    third = 8 * 8 * 64 * 9 * (32 + 9 * 64)
    network = build_network("resnet32", num_classes=100, image_shape=(3, 32, 32))
    expected = stem + first + second + third + 64 * 100
    assert multiply_adds(network, torch.zeros(1, 3, 32, 32)) == expected


def test_counting_changes_nothing():
    student = tiny_student().train()
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    exit_costs(student, IMAGE_SHAPE)
    assert all(module.training for module in student.modules())
    assert all(torch.equal(t, before[name]) for name, t in student.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in student.modules())
