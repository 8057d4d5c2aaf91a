"""What hosts write to one another: all their students' log-posteriors, or those students' sum.

Shapes: S students of a host, B batch, C classes, R rows of a message: S, or 1 of a sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cohort.config import Teacher
from cohort.learning.lesson import others
from cohort.objectives.peer_sum import Peer, PeerSum, add_up

SUM_FROM_BYTES = 4 * 2**20
"""What a host may receive a step before ``--aggregate auto`` adds up: less costs hardly any time, and
every division of the students then gives the same ones, bit for bit."""
FLOAT_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Messages:
    """How what a host's students show is written, and read by other hosts."""

    teacher: Teacher = "peers"
    summed: bool = False
    half: bool = False
    """Rounded to float16 where it travels. A host's own students see each other as they are."""

    def write(self, shown_SBC: Tensor) -> Tensor:
        """One host's message [R, B, C] of its students' log-posteriors; of a sum with entropies, C+1."""
        message = _sum_as_row(add_up(list(shown_SBC), self.teacher)) if self.summed else shown_SBC
        if self.half:
            # A log-posterior below float16's range is a probability of 0 to any loss, but -inf no number.
            message = message.clamp(min=torch.finfo(torch.float16).min).half()
        return message

    def read(self, message: Tensor, students: int) -> list[Peer]:
        """What ``write`` was given by a host of so many students, as peers of others."""
        message = message.float()
        if not self.summed:
            return list(message)
        (row,) = message
        if self.teacher == "peers":
            return [PeerSum(row[:, :-1], row[:, -1], students)]
        return [PeerSum(row, None, students)]

    def rows(self, students: int) -> int:
        """R, of a host of so many students."""
        return 1 if self.summed else students


@dataclass(frozen=True)
class Seat:
    """One host's place among those that write to one another."""

    place: int
    sizes: tuple[int, ...]
    """How many students each host has."""
    messages: Messages

    def around(self, shown: Sequence[Tensor]) -> tuple[list[Peer], list[Peer]]:
        """The messages of all other hosts, in order, as peers before this host's students and after."""
        sizes = others(self.sizes, self.place)
        peers = [
            self.messages.read(message, size) for message, size in zip(shown, sizes, strict=True)
        ]
        before, after = peers[: self.place], peers[self.place :]
        return self._together(before), self._together(after)

    def _together(self, of_hosts: Sequence[list[Peer]]) -> list[Peer]:
        peers = [peer for of_host in of_hosts for peer in of_host]
        return [add_up(peers, self.messages.teacher)] if self.messages.summed and peers else peers


def sums_pay(sizes: Sequence[int], batch: int, classes: int) -> bool:
    """Whether hosts of so many students had better add up, by the bytes that one receives a step.

    Gathering takes the posteriors of all students elsewhere, B·C numbers each; sums take B·C+B of
    each other host. They pay where they save half or more of what is not little anyway.
    """
    gathered = (sum(sizes) - min(sizes)) * batch * classes * FLOAT_BYTES
    summed = (len(sizes) - 1) * (batch * classes + batch) * FLOAT_BYTES
    return gathered >= SUM_FROM_BYTES and 2 * summed <= gathered


def _sum_as_row(summed: PeerSum) -> Tensor:
    columns = [summed.total_BC]
    if summed.negentropy_B is not None:
        columns.append(summed.negentropy_B[:, None])
    return torch.cat(columns, dim=1)[None]
