"""How well each exit's features separate the classes, as sums of squares and as a scatter.

"Be Your Own Teacher" (ICCV 2019, arXiv 1905.08094), section 5: the deeper the exit, the more its
features cluster by class.

Shapes: N examples, F features, C classes that occur.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cohort.data.dataset import Split
from cohort.data.source import whole
from cohort.learning.evaluation import EVALUATION_BATCH, evaluating
from cohort.models.early_exit import MultiExitStudent

SCATTER_CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class Separability:
    """Sums of squares; the smaller their ratio, the better the classes are separated."""

    within: float
    between: float
    ratio: float
    """within / between; infinite if all classes have the same mean."""


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """Features of some classes on their two principal axes."""

    coordinates_N2: Tensor
    labels_N: Tensor
    explained: tuple[float, float]
    """The fraction of the features' variance along each axis."""


def separability(features_NF: Tensor, labels_N: Tensor) -> Separability:
    r"""Sums of squares within and between classes, whose total is that around the overall mean.

    .. math:: \sum_n \lVert f_n - \mu_{y_n} \rVert^2, \qquad \sum_c N_c \lVert \mu_c - \mu \rVert^2

    Example:
        >>> separability(torch.tensor([[0.0], [2.0], [5.0], [5.0]]), torch.tensor([0, 0, 1, 1]))
        Separability(within=2.0, between=16.0, ratio=0.125)
    """
    features_NF = features_NF.double()  # a sum over many squares, then a difference of two
    _, class_N, count_C = torch.unique(labels_N, return_inverse=True, return_counts=True)
    sum_CF = features_NF.new_zeros(len(count_C), features_NF.shape[1])
    mean_CF = sum_CF.index_add_(0, class_N, features_NF) / count_C[:, None]
    within = (features_NF - mean_CF[class_N]).square().sum()
    offset_C = (mean_CF - features_NF.mean(0)).square().sum(1)
    between = (count_C * offset_C).sum()
    return Separability(within=float(within), between=float(between), ratio=float(within / between))


@torch.no_grad()
def features_over(student: MultiExitStudent, split: Split, device: torch.device) -> list[Tensor]:
    """The features that each exit's classifier reads, of every example: E times [N, F], on the CPU.

    In evaluation mode; the student is left as it was.
    """
    with evaluating(student):
        batches = [
            [features_BF.float().cpu() for features_BF in student.outputs(images).features]
            for images, _ in whole(split, device=device, batch_size=EVALUATION_BATCH)
        ]
    return [torch.cat(parts) for parts in zip(*batches, strict=True)]


def pca_scatter(
    features_NF: Tensor, labels_N: Tensor, classes: Sequence[int] | None = None
) -> Scatter:
    """The examples of some classes on the two principal axes of their own features.

    Args:
        features_NF: at least two features.
        labels_N: their classes.
        classes: which to show; by default the first ten that occur, more than ten colours being
            hard to tell apart.

    Raises:
        ValueError: if fewer than two examples or features are left.
    """
    from sklearn.decomposition import PCA

    present = sorted(set(labels_N.tolist()))
    wanted = torch.tensor(present[:SCATTER_CLASSES] if classes is None else list(classes))
    chosen_N = torch.isin(labels_N, wanted)
    pca = PCA(n_components=2, svd_solver="full")
    coordinates = pca.fit_transform(features_NF[chosen_N].double().numpy())
    first, second = pca.explained_variance_ratio_.tolist()
    return Scatter(
        coordinates_N2=torch.from_numpy(coordinates),
        labels_N=labels_N[chosen_N],
        explained=(first, second),
    )
