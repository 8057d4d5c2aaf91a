"""A recorder without a GPU: it replays by doing the work again, and can refuse to."""

import contextlib

import torch

from cohort.learning.recorder import CannotCaptureError


class FakeRecorder:
    """Does what is asked in the order in which it is asked, and keeps a list of it."""

    def __init__(self, *, refuses=None):
        self.told = []
        self._refuses = refuses

    def begin(self):
        self.told.append("begin")

    @contextlib.contextmanager
    def lane(self, student, *, after_all=False):
        self.told.append(("lane", student, after_all))
        yield

    def try_out(self, work):
        self.told.append("try out")
        with torch.random.fork_rng(devices=[]):
            for _ in range(3):
                work()
        if self._refuses:
            raise CannotCaptureError(self._refuses)

    def record(self, work):
        self.told.append("record")
        return work

    def forget(self):
        self.told.append("forget")

    def count(self, what):
        return self.told.count(what)
