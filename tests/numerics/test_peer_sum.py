"""Peers that were added up teach what each of them would: in float64 to its last digits."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from cohort.models.multi_exit import ExitOutputs
from cohort.objectives.auxiliary import BesideHeads, WithAuxiliary
from cohort.objectives.mutual import MutualLearning, mimicry
from cohort.objectives.peer_sum import add_up, in_places, tensors_of
from cohort.objectives.self_distillation import MutualSelfDistillation
from cohort.runtime.wire import Messages

TEACHERS = ("peers", "ensemble", "ensemble_logits")
SHAPES = {
    "seed": st.integers(0, 2**32),
    "batch": st.integers(1, 5),
    "classes": st.integers(2, 9),
    "count": st.integers(1, 9),
    "scale": st.sampled_from([0.1, 2.0, 20.0]),
}


def log_posteriors(seed, batch, classes, count, scale, dtype):
    """One student's logits [B, C] and its peers' log-posteriors."""
    generator = torch.Generator().manual_seed(seed)
    own, *peers = scale * torch.randn(
        count + 1, batch, classes, generator=generator, dtype=torch.float64
    )
    return own.to(dtype), [F.log_softmax(peer, dim=1).to(dtype) for peer in peers]


def value_and_gradient(logits, peers, teacher):
    z = logits.clone().requires_grad_()
    value = mimicry(F.log_softmax(z, dim=1), peers, teacher)
    return value.detach(), torch.autograd.grad(value, z)[0]


@settings(max_examples=100, deadline=None)
@given(teacher=st.sampled_from(TEACHERS), cut=st.integers(0, 9), other=st.integers(0, 9), **SHAPES)
def test_sums_beside_single_peers_teach_what_all_of_them_do(
    teacher, cut, other, seed, batch, classes, count, scale
):
    """As a host's student sees them: sums of hosts before it, its neighbours, sums of hosts after."""
    own, peers = log_posteriors(seed, batch, classes, count, scale, torch.float64)
    first, last = sorted((min(cut, count), min(other, count)))
    before, beside, after = peers[:first], peers[first:last], peers[last:]
    divided = [
        *([add_up(before, teacher)] if before else []),
        *beside,
        *([add_up(after, teacher)] if after else []),
    ]
    got = value_and_gradient(own, divided, teacher)
    expected = value_and_gradient(own, peers, teacher)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(teacher=st.sampled_from(TEACHERS), **SHAPES)
def test_in_float32_they_differ_by_rounding_only(teacher, seed, batch, classes, count, scale):
    own, peers = log_posteriors(seed, batch, classes, count, scale, torch.float32)
    exact, gradient = value_and_gradient(own.double(), [p.double() for p in peers], teacher)
    got = value_and_gradient(own, [add_up(peers, teacher)], teacher)
    # What the value is the difference of: an entropy, and a cross-entropy of at most max |log q|.
    largest = F.log_softmax(own, dim=1).abs().max().item() + math.log(classes)
    assert abs(got[0].item() - exact.item()) <= 1e-6 * largest
    torch.testing.assert_close(got[1].double(), gradient, rtol=1e-5, atol=1e-6)


def test_two_peers_by_hand():
    first, second = torch.tensor([[0.5, 0.5]]).double(), torch.tensor([[0.25, 0.75]]).double()
    summed = add_up([first.log(), second.log()], "peers")
    assert summed.total_BC.tolist() == [pytest.approx([0.75, 1.25])]
    entropies = math.log(2), -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert summed.negentropy_B.item() == pytest.approx(-sum(entropies))
    assert summed.count == 2
    own = torch.tensor([[0.8, 0.2]], dtype=torch.float64)
    divergences = [
        sum(p * math.log(p / q) for p, q in zip(peer[0].tolist(), (0.8, 0.2), strict=True))
        for peer in (first, second)
    ]
    got = mimicry(own.log(), [summed], "peers")
    assert got.item() == pytest.approx(sum(divergences) / 2, rel=1e-12)


def test_the_order_of_addition_is_the_one_given():
    """Or a run would not repeat bit for bit: these three round differently in another order."""
    values = [torch.tensor([[v]]) for v in (1.0, 2.0**-24, 2.0**-24)]
    logs = [value.log() for value in values]
    forth, back = (add_up(order, "ensemble").total_BC for order in (logs, logs[::-1]))
    assert forth.item() == 1.0
    assert back.item() > 1.0


@pytest.mark.parametrize("teacher", TEACHERS)
def test_probabilities_rounded_to_nothing_stay_harmless(teacher):
    own = torch.tensor([[200.0, 0.0, -200.0]])
    peer = F.log_softmax(torch.tensor([[-200.0, 0.0, 200.0]]), dim=1)
    assert peer.exp()[0, 0] == 0
    got = value_and_gradient(own, [add_up([peer], teacher), add_up([peer], teacher)], teacher)
    torch.testing.assert_close(got, value_and_gradient(own, [peer, peer], teacher))
    assert got[0].item() == pytest.approx(400, rel=1e-5)


@pytest.mark.parametrize("teacher", TEACHERS)
def test_peers_that_lie_elsewhere_teach_the_same(teacher):
    own, peers = log_posteriors(3, 4, 6, 4, 2.0, torch.float32)
    shown = [add_up(peers[:2], teacher), peers[2], add_up(peers[3:], teacher)]
    copies = [tensor.clone() for tensor in tensors_of(shown)]
    moved = in_places(shown, copies)
    expected = value_and_gradient(own, shown, teacher)
    torch.testing.assert_close(value_and_gradient(own, moved, teacher), expected, rtol=0, atol=0)
    for copy in copies:
        copy.zero_()
    assert value_and_gradient(own, moved, teacher)[0] != expected[0]


def test_sums_get_no_gradient():
    peer = torch.tensor([[0.1, 0.2]]).requires_grad_()
    summed = add_up([peer.log(), peer.log()], "peers")
    assert not summed.total_BC.requires_grad
    assert not summed.negentropy_B.requires_grad


@settings(max_examples=60, deadline=None)
@given(**SHAPES)
def test_half_precision_moves_the_gradient_by_its_rounding_and_no_more(
    seed, batch, classes, count, scale
):
    """Of a log-posterior at most 2⁻¹¹ of it is lost, so of a posterior 2⁻¹¹·p·|log p|; of a sum 2⁻¹¹."""
    own, peers = log_posteriors(seed, batch, classes, count, scale, torch.float32)
    shown_SBC = torch.stack(peers)
    _, exact = value_and_gradient(own.double(), [p.double() for p in peers], "peers")
    entropy_B = -(shown_SBC.exp() * shown_SBC).sum(dim=2).mean(dim=0)
    for summed, lost_B in ((False, entropy_B), (True, torch.ones(batch))):
        messages = Messages(summed=summed, half=True)
        _, gradient = value_and_gradient(
            own, messages.read(messages.write(shown_SBC), count), "peers"
        )
        moved_B = batch * (gradient - exact).abs().sum(dim=1)
        assert (moved_B <= 2 * 2**-11 * lost_B * 1.01 + 1e-5).all()
        if scale == 2.0 and classes > 2:
            assert moved_B.max() > 1e-6  # and it was rounded


@pytest.mark.parametrize("teacher", TEACHERS)
@pytest.mark.parametrize("beside", ["exits", "auxiliary heads"])
def test_objectives_hand_sums_on_to_the_mutual_loss(teacher, beside):
    own, peers = log_posteriors(1, 4, 6, 3, 2.0, torch.float32)
    mutual, labels_B = MutualLearning(teacher=teacher), torch.tensor([0, 1, 2, 3])
    if beside == "exits":
        objective = MutualSelfDistillation(mutual=mutual)
        outputs = ExitOutputs((own.flip(1), own), (torch.zeros(4, 2), torch.ones(4, 2)))
    else:
        objective, outputs = WithAuxiliary(main=mutual, weight=0.3), BesideHeads(own, (own,))
    one_by_one, together = (
        objective.loss(outputs, labels_B, shown)[1] for shown in (peers, [add_up(peers, teacher)])
    )
    assert one_by_one["kl"] > 0.1
    torch.testing.assert_close(together["kl"], one_by_one["kl"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(together["loss"], one_by_one["loss"], rtol=1e-5, atol=1e-6)
