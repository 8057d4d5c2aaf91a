"""Shared by all tiers. It imports neither torch nor Ray, which the process that deals out tests needs not."""

import gc
from collections.abc import Iterator

import hypothesis
import pytest

import tests.support.environment  # noqa: F401 - before anything else
from tests.support.command import end_all

gc.disable()  # until all tests are collected: none of what they are made of is garbage
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


@pytest.fixture(scope="module")
def ray_of_four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Ray that believes in four cores, shared by a module's tests."""
    from tests.support.local_ray import shared_ray

    with shared_ray(tmp_path_factory.mktemp("place")):
        yield
