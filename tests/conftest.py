"""Shared by all tiers: one torch thread, so that two cores suffice and results are bit-stable."""

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # in the processes that tests start, too
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # they are hundreds, and would all compile cohort

import hypothesis
import pytest
import torch

from tests.support.command import end_all
from tests.support.local_ray import ray_of_four as ray_of_four

gc.disable()  # until all tests are collected: none of what they are made of is garbage
torch.set_num_threads(1)
hypothesis.settings.register_profile("patient", deadline=None)  # speed is no test's business
hypothesis.settings.load_profile("patient")


def pytest_collection_finish():
    """A third of the collection's time went into looking for garbage there, and later in all of it."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def nothing_outlives_its_test():
    """However a test ends: what it left running would disturb, and warn in, the next ones."""
    yield
    end_all()
