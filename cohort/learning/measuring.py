"""How good a network's answers to a split are, and those of several networks together.

What is asked of a network, and so what is measured, is decided by the split's type alone: classes of
images, or, of a ``Search``, people found again by features.

Shapes: N examples, C classes, D features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cohort.config import Distance
from cohort.data.dataset import GALLERY, MORE, QUERY, ImageDataset, Search, Split
from cohort.data.source import as_tensor
from cohort.errors import ConfigError, RunError
from cohort.metrics.agreement import agreement, mean_pairwise_kl
from cohort.metrics.classification import evaluate_posterior, mean_posterior
from cohort.metrics.retrieval import Pictures, pooled, retrieval
from cohort.models.normalised import Normalised
from cohort.models.spec import Network, shown

COUNTED = "unmatched_queries"
"""Of a ``Search``: the same for one picture of a query as for several."""


@dataclass(frozen=True)
class Measuring:
    """Measures answers, as ``cohort.learning.evaluation.answers_over`` gives them."""

    distance: Distance
    """Between features."""
    device: torch.device
    """Where features are compared."""

    def of(self, split: Split, answers: Tensor) -> dict[str, float]:
        """Measurements of log-posteriors [N, C], or, of a ``Search``, of features [N, D].

        Raises RunError if features are not finite.
        """
        if isinstance(split, Search):
            return self._found_again(split, answers)
        return evaluate_posterior(answers, torch.from_numpy(split.labels))

    def _found_again(self, search: Search, features_ND: Tensor) -> dict[str, float]:
        """By one picture of each query, and by all there are of it, if there are more."""
        query, gallery, more = pictures_of(search, features_ND, self.device)
        try:
            measured = retrieval(query, gallery, self.distance)
            if len(more.identities_N):
                multi = retrieval(pooled(query, more), gallery, self.distance)
                measured |= {f"multi_{k}": v for k, v in multi.items() if k != COUNTED}
        except ValueError as error:
            raise RunError(f"people cannot be looked for: {error}") from error
        return measured


def pictures_of(
    search: Search, features_ND: Tensor, device: torch.device
) -> tuple[Pictures, Pictures, Pictures]:
    """The queries, the gallery, and more pictures of the queries, on a device."""
    every = Pictures(features_ND, as_tensor(search.labels), as_tensor(search.cameras))
    roles_N = as_tensor(search.roles)
    query, gallery, more = (every.part(roles_N == r).to(device) for r in (QUERY, GALLERY, MORE))
    return query, gallery, more


def together(split: Split, answers: Sequence[Tensor]) -> Tensor:
    """What networks answer as an ensemble: their mean posterior [N, C], or all features side by side.

    Features are taken as they are, as the authors of Deep Mutual Learning do it (their Fig. 2b): in
    the Euclidean distance a network counts by the size of its features.
    """
    if isinstance(split, Search):
        return torch.cat(list(answers), dim=1)
    return mean_posterior(answers)


def alikeness(split: Split, answers: Sequence[Tensor]) -> dict[str, float]:
    """How alike the answers of networks are: ``agreement`` and ``pairwise_kl``, each a mean over pairs.

    The share of examples on which two of them give the same class, and the KL divergence between two
    of their posteriors, in nats. Of a ``Search``, or of one network, there is nothing to say.
    """
    if isinstance(split, Search) or len(answers) < 2:
        return {}
    return {"agreement": agreement(answers), "pairwise_kl": mean_pairwise_kl(answers)}


def check_measurable(
    student: Normalised, dataset: ImageDataset, spec: Network, *, flag: str
) -> None:
    """Raise ConfigError, naming ``flag``, if a student cannot answer what the test split asks."""
    if not isinstance(dataset.test, Search):
        return
    try:
        student.features(torch.zeros(2, *dataset.image_shape))
    except ConfigError as error:
        raise ConfigError(
            f"{flag} is {shown(spec)}, but --dataset {dataset.name} is for finding people again: {error}"
        ) from error
