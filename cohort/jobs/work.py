"""One worker of a job, from ingredients to the last step, in whatever process it runs."""

import torch
from torch import nn

from cohort.jobs.build import Ingredients, build_worker_learner
from cohort.jobs.loop import Channel, Worker
from cohort.learning.data_parallel import Workers, synchronised_batch_norm


def work(parts: Ingredients, workers: Workers, device: torch.device, channel: Channel) -> None:
    """Build the learner and train it to the plan's last step, or until asked to stop."""
    learner = build_worker_learner(parts, workers, device)
    together = parts.config.batch_norm == "synchronised"
    trained = nn.ModuleList([learner.network, learner.adapters])
    with synchronised_batch_norm(trained, workers if together else Workers()):
        Worker(learner, parts.plan, parts.dataset, workers, channel).run()
