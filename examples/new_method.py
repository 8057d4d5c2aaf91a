"""A new way to learn from peers, in pure functions: follow whichever peer is surest of an example.

python examples/new_method.py
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from cohort import CohortConfig
from cohort.data.registry import load_dataset
from cohort.learning.host import Host
from cohort.learning.plan import plan_training
from cohort.objectives.mutual import accuracy_and_entropy, kl_divergence, log_posterior
from cohort.objectives.objective import Measurements, Objective
from cohort.runtime.config import resolve


def most_confident(peers_PBC: Tensor) -> Tensor:
    """Of P log-posteriors [P, B, C], for each example the one with the largest probability: [B, C]."""
    chosen_B = peers_PBC.amax(dim=2).argmax(dim=0)
    return peers_PBC[chosen_B, torch.arange(peers_PBC.shape[1])]


class FollowTheSurest(Objective):
    """L_k = CE(z_k, y) + KL(surest peer ‖ p_k)."""

    def posterior(self, logits_BC: Tensor) -> Tensor:
        """What the peers see: the detached log-posterior, float32 [B, C]."""
        return log_posterior(logits_BC.detach())

    def loss(
        self, logits_BC: Tensor, labels_B: Tensor, peers: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Measurements]:
        """The scalar loss of one student, and its measurements."""
        ce = self.cross_entropy(logits_BC, labels_B)
        kl = kl_divergence(most_confident(torch.stack(list(peers))), log_posterior(logits_BC))
        measured = {"ce": ce.detach(), "kl": kl.detach()}
        return ce + kl, measured | accuracy_and_entropy(logits_BC, labels_B)


if __name__ == "__main__":
    torch.set_num_threads(1)
    config = resolve(CohortConfig())  # the recipe of the digits
    dataset = load_dataset(config, config.seed)
    plan, cpu = plan_training(config, len(dataset.train)), torch.device("cpu")
    three = dict.fromkeys(range(3), "resnet8")
    host = Host(three, plan, dataset, FollowTheSurest(), device=cpu)
    for step in range(20):
        host.predict(step)
        host.learn(step)
    print(host.drain()[0][-1])
