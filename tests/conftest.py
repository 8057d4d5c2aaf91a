"""Shared by all tiers: one torch thread, so that two cores suffice and results are bit-stable."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # in the processes that tests start, too

import torch

from tests.support.local_ray import ray_of_four as ray_of_four

torch.set_num_threads(1)
