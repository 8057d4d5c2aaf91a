"""Hosts that exchange in this process, message by message: what Ray's actors are compared with."""

from itertools import accumulate, pairwise

import torch

from cohort.learning.host import Host
from cohort.learning.lesson import others
from cohort.learning.student_files import weights_sha256
from cohort.runtime.wire import Messages, Seat


class HostsHere:
    """As many hosts as ``sizes`` has numbers of students."""

    def __init__(self, networks, plan, dataset, objective, *, sizes, **messages):
        kept = Messages(teacher=objective.teacher, **messages)
        bounds = pairwise(accumulate(sizes, initial=0))
        self.seats = [Seat(place, tuple(sizes), kept) for place in range(len(sizes))]
        self.hosts = [
            Host(
                {k: networks[k] for k in range(*each)},
                plan,
                dataset,
                objective,
                device=torch.device("cpu"),
            )
            for each in bounds
        ]

    def advance(self, steps, sequential=False):
        for step in range(steps):
            shown = [self._write(i, host.predict(step)) for i, host in enumerate(self.hosts)]
            for i, (host, seat) in enumerate(zip(self.hosts, self.seats, strict=True)):
                peers = seat.around(others(shown, i))
                if sequential:
                    shown[i] = self._write(i, host.learn_in_turn(step, *peers))
                else:
                    host.learn(step, *peers)
        return self

    @property
    def learners(self):
        return [learner for host in self.hosts for learner in host.learners]

    def records(self):
        return [(k, each) for host in self.hosts for k, r in host.drain().items() for each in r]

    def digests(self):
        return [weights_sha256(learner.network) for learner in self.learners]

    def _write(self, place, shown):
        return self.seats[place].messages.write(shown)
