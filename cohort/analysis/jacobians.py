r"""How alike two ensembles react to a change of their input: their Jacobians, compared by random projections.

"Diversity Matters When Learning From Ensembles" (NeurIPS 2021, arXiv 2110.14149), section 5.3:
learning on inputs perturbed by ODS matches Jacobians approximately.

The Jacobian J of a posterior by the input has C rows of D numbers. For v with independent signs,
E[vvᵀ] = I, so E‖Jᵀv‖² = ‖J‖² (Frobenius) and E⟨Jᵀv, Kᵀv⟩ = ⟨J, K⟩: no Jacobian need ever be built.

Shapes: B batch, C classes, D pixels, S students, T teachers, V projections.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cohort.objectives.perturbation import PixelsToLogits
from cohort.seeding import generator


@dataclass(frozen=True, kw_only=True)
class JacobianMatch:
    """How alike every student's Jacobian is to every teacher's, over all examples; float64 [S, T]."""

    relative_error: Tensor
    """E‖J_S − J_T‖² / E‖J_T‖²: 0 for equal Jacobians, 1 for a student that does not react."""
    cosine: Tensor
    """E⟨J_S, J_T⟩ / √(E‖J_S‖² E‖J_T‖²), in [-1, 1]."""


def jacobian_match(
    students: Sequence[PixelsToLogits],
    teachers: Sequence[PixelsToLogits],
    batches: Iterable[Tensor],
    *,
    classes: int,
    draws: int,
    seed: int,
) -> JacobianMatch:
    """Compare the Jacobians of posteriors on batches of images [B, C, H, W] in [0, 1].

    No example's posterior may depend on another example: networks are in evaluation mode.

    Every expectation is a mean over the examples and ``draws`` projections of each, which are the
    same for all networks and a function of (seed, number of the batch). The ratios are those of
    the means. NaN where a network does not react at all.

    Raises:
        ValueError: if there is no batch.
    """
    grams = []
    for images_BCHW, v_VBC in _with_signs(batches, classes, draws, seed):
        projected = [projections(of, images_BCHW, v_VBC) for of in (*students, *teachers)]
        # Squares of a sure network's gradients would vanish in float32.
        both = torch.stack(projected).double().flatten(1)
        grams.append((both @ both.T).cpu())
    if not grams:
        raise ValueError("Jacobians cannot be compared on no images")
    gram, count = torch.stack(grams).sum(0), len(students)
    inner_ST, square = gram[:count, count:], gram.diagonal()
    student_S1, teacher_T = square[:count, None], square[count:]
    return JacobianMatch(
        relative_error=(student_S1 + teacher_T - 2 * inner_ST) / teacher_T,
        cosine=inner_ST / (student_S1 * teacher_T).sqrt(),
    )


def projections(network: PixelsToLogits, images_BCHW: Tensor, v_VBC: Tensor) -> Tensor:
    """Jᵀv of the posterior on every example: [V, B, C, H, W].

    A backward pass per projection, through the input alone: no parameter gains a grad.
    """
    with torch.enable_grad():
        x_BCHW = images_BCHW.detach().requires_grad_()
        # In float32 the posterior of a sure network is 1, and its derivative by that logit 0.
        posterior_BC = network(x_BCHW).double().softmax(1)
        # Where no example depends on another, the gradient of the sum is that of each.
        projected = [
            torch.autograd.grad((posterior_BC * v_BC).sum(), x_BCHW, retain_graph=True)[0]
            for v_BC in v_VBC
        ]
    return torch.stack(projected)


def _with_signs(
    batches: Iterable[Tensor], classes: int, draws: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Each batch and its projections, ±1 in [V, B, C]."""
    for step, images_BCHW in enumerate(batches):
        random = generator(seed, "projections", step)
        signs_VBC = 2 * torch.randint(2, (draws, len(images_BCHW), classes), generator=random) - 1
        yield images_BCHW, signs_VBC.to(images_BCHW)
