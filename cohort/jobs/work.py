"""One worker of a job, from the job to its last step, in whatever process it runs."""

import torch
from torch import nn

from cohort.jobs.job import Job
from cohort.jobs.loop import Channel, Worker
from cohort.learning.data_parallel import Workers, synchronised_batch_norm


def work(job: Job, workers: Workers, device: torch.device, channel: Channel) -> None:
    """Build the learner and train it to the plan's last step, or until asked to stop."""
    learner = job.build_learner(workers, device)
    together = job.config.batch_norm == "synchronised"
    trained = nn.ModuleList([learner.network, learner.adapters])
    with synchronised_batch_norm(trained, workers if together else Workers()):
        Worker(job, learner, workers, channel).run()
