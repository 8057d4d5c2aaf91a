"""The check of a new group, with what a broken one may answer, and whose GPU is whose. No Ray, no GPU."""

import pytest
import torch

from cohort.runtime import own_gpu, private_ray
from cohort.runtime.warm_up import CHECKED, GroupUnusableError, check_gather


def members(count, size=4):
    """What each of a group sends of so many numbers: the test's own arithmetic."""
    return [torch.tensor([float(rank + n) for n in range(count)]) for rank in range(size)]


def gather(change):
    """A group in which rank 1 asks, and that answers with what a broken one changes."""

    def answer(own):
        sent = members(len(own))
        assert torch.equal(own, sent[1])
        return change(sent)

    return answer


def test_a_group_that_works():
    asked = []

    def count(sent):
        asked.append(len(sent[0]))
        return sent

    check_gather(gather(count), 1, torch.device("cpu"))
    assert asked == list(CHECKED)


@pytest.mark.parametrize(
    ("change", "sender"),
    [
        (lambda sent: [sent[1], sent[0], *sent[2:]], 0),
        (lambda sent: [*sent[:3], torch.zeros_like(sent[3])], 3),
        (lambda sent: [*sent[:2], sent[2][:-1], sent[3]], 2),
        (lambda sent: [sent[0], sent[1].roll(1) if len(sent[1]) > 1 else sent[1], *sent[2:]], 1),
    ],
    ids=["another order", "nothing arrived", "cut", "only the longer one"],
)
def test_one_that_does_not(change, sender):
    with pytest.raises(GroupUnusableError, match=f"^host 1 did not receive what host {sender} "):
        check_gather(gather(change), 1, torch.device("cpu"))


@pytest.mark.parametrize(
    ("gpus", "visible", "index"),
    [
        ([0], None, 0),
        ([3], None, 3),
        (["3"], "2,3", 1),
        (["3"], "3", 0),
        ([3], "3", 0),
        (["GPU-b2", "GPU-a1"], "GPU-a1, GPU-b2", 1),
    ],
    ids=["first", "fourth", "of two that the user left", "hidden by Ray", "a number", "UUIDs"],
)
def test_an_actor_s_gpu_among_those_that_it_sees(gpus, visible, index):
    assert own_gpu.index_of(gpus, visible) == index


def test_only_actors_with_a_gpu_get_an_environment():
    assert own_gpu.environment("cpu") == {}
    (setting,) = own_gpu.environment("cuda")["runtime_env"]["env_vars"].items()
    assert setting == (private_ray.ALL_GPUS, "1")


def test_on_the_cpu_there_is_nothing_to_choose():
    assert own_gpu.own_device("cpu") == torch.device("cpu")
