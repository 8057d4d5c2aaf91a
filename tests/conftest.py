"""Shared by all tiers: one torch thread, so that two cores suffice and results are bit-stable."""

import torch

torch.set_num_threads(1)
