"""What a cohort costs: seconds a step, bytes and memory, from measured constants.

Shapes: K students in H hosts of S on N nodes; batches of B, C classes.
"""

import math
from dataclasses import dataclass

INLINE = 100 * 2**10
"""Bytes up to which Ray sends a result through the process that owns it, which is the driver."""


@dataclass(frozen=True)
class Constants:
    """What is measured: seconds and bytes."""

    first_student: float
    """A step of a host's first student on its device, the batch included, without peers."""
    next_student: float
    """Of each further student in the same host."""
    peer: float
    """For each peer whose posterior a student learns from by itself."""
    call: float
    """From a host's posterior to the start of the next task with others', two hosts, nothing to compute."""
    stack: float
    """A host's work for each stack that it receives."""
    stack_byte: float
    """And for each byte of it."""
    task: float
    """The driver's work for each task, its result included."""
    reference: float
    """The driver's work for each stack that it hands to a task."""
    ray: float
    """Work of Ray's other processes for each task."""
    gather: float
    """``all_gather`` of gloo between two hosts."""
    gather_peer: float
    """For each further host."""
    gather_byte: float
    """For each byte that a host receives."""
    task_bytes: float
    """On the wire for each task, besides posteriors."""
    process_bytes: float
    """Memory of a host's process before it has students (proportional set size)."""
    student_bytes: float
    """Of each student: weights, gradients, momentum, activations of its step."""
    driver_bytes: float
    """Of the driver."""


@dataclass(frozen=True)
class Network:
    """Between nodes. Assumed, not measured."""

    bytes_a_second: float = 10e9 / 8
    latency: float = 50e-6


@dataclass(frozen=True)
class Layout:
    """A cohort on a cluster."""

    k: int
    hosts: int
    nodes: int = 1
    cores: int = 2
    """Of each node."""
    batch: int = 64
    classes: int = 100
    number_bytes: int = 4
    """Of each number on the wire."""
    aggregate: str = "gather"
    """``gather``: every posterior travels; ``sum``: a host's sum of them and their entropies."""

    @property
    def students(self) -> int:
        """S, of the fullest host."""
        return math.ceil(self.k / self.hosts)

    @property
    def hosts_a_node(self) -> int:
        """Of the fullest node."""
        return math.ceil(self.hosts / self.nodes)

    @property
    def posterior_bytes(self) -> int:
        """Of one student and step."""
        return self.batch * self.classes * self.number_bytes

    @property
    def stack_bytes(self) -> int:
        """What a host shows in a step."""
        if self.aggregate == "sum":
            return self.posterior_bytes + self.students * self.batch * self.number_bytes
        return self.students * self.posterior_bytes

    @property
    def inline(self) -> bool:
        """Whether its stacks travel through the driver."""
        return self.stack_bytes <= INLINE


def compute_seconds(c: Constants, of: Layout) -> float:
    """A step of the fullest host, without exchange: S students, each with K-1 peers, or their sum."""
    peers = min(1, of.k - 1) if of.aggregate == "sum" else of.k - 1
    return c.first_student + (of.students - 1) * c.next_student + of.students * peers * c.peer


def received_bytes(of: Layout) -> float:
    """What a host receives in a step, whatever way."""
    return (of.hosts - 1) * of.stack_bytes


def node_bytes(of: Layout, exchange: str) -> float:
    """What the fullest node receives from other nodes in a step.

    Large results are fetched once for all hosts of a node; small ones, and those of a collective,
    once for each.
    """
    elsewhere = (of.hosts - of.hosts_a_node) * of.stack_bytes
    shared = exchange == "object_store" and not of.inline
    return elsewhere if shared else elsewhere * of.hosts_a_node


def driver_bytes(c: Constants, of: Layout) -> float:
    """What the driver's node sends and receives for it in a step of the object store, over the network."""
    through = of.hosts * of.hosts * of.stack_bytes if of.inline else 0  # H in, H(H-1) out
    away = (of.nodes - 1) / of.nodes
    return away * (through + of.hosts * c.task_bytes)


def driver_seconds(c: Constants, of: Layout, network: Network = Network()) -> float:
    """The driver's work in a step of the object store; it runs ahead, so only more than a step delays."""
    work = of.hosts * (c.task + (of.hosts - 1) * c.reference)
    return max(work, driver_bytes(c, of) / network.bytes_a_second)


def host_seconds(c: Constants, of: Layout, network: Network = Network()) -> float:
    """A step of the fullest host by the object store: computing, then waiting for the others' stacks."""
    if of.hosts == 1:
        return compute_seconds(c, of)
    more = (of.hosts - 2) * c.stack + received_bytes(of) * c.stack_byte
    return compute_seconds(c, of) + c.call + more + _between_nodes(of, "object_store", network)


def work_seconds(c: Constants, of: Layout) -> float:
    """Work of the driver's node in a step, over its cores: where there are fewer cores than processes."""
    host = compute_seconds(c, of)
    if of.hosts == 1:
        return host
    host += (of.hosts - 1) * c.stack + received_bytes(of) * c.stack_byte
    driver = of.hosts * (c.task + c.ray + (of.hosts - 1) * c.reference)
    return (of.hosts_a_node * host + driver) / of.cores


def object_store_seconds(c: Constants, of: Layout, network: Network = Network()) -> float:
    """A step by the object store: whichever takes longest."""
    if of.hosts == 1:
        return compute_seconds(c, of)
    return max(host_seconds(c, of, network), driver_seconds(c, of, network), work_seconds(c, of))


def collective_seconds(c: Constants, of: Layout, network: Network = Network()) -> float:
    """A step by gloo's ring."""
    if of.hosts == 1:
        return compute_seconds(c, of)
    waves = max(1.0, of.hosts_a_node / of.cores)  # hosts that share a core take turns
    ring = c.gather + (of.hosts - 2) * c.gather_peer + received_bytes(of) * c.gather_byte
    return waves * compute_seconds(c, of) + ring + _between_nodes(of, "collective", network)


def node_memory(c: Constants, of: Layout) -> float:
    """Memory of the fullest node that also has the driver, without the data set."""
    shown = of.k * of.posterior_bytes
    host = c.process_bytes + of.students * c.student_bytes + shown
    return of.hosts_a_node * host + c.driver_bytes


def alone_seconds(c: Constants, of: Layout) -> float:
    """A step of students that do not teach each other."""
    return c.first_student + (of.students - 1) * c.next_student


def host_memory(c: Constants, of: Layout) -> float:
    """Of the fullest host's process."""
    return c.process_bytes + of.students * c.student_bytes + of.k * of.posterior_bytes


def loopback_bytes(c: Constants, of: Layout) -> float:
    """In a step, of all processes on one machine: through the driver, or from node to node."""
    if of.inline:
        return of.hosts * of.hosts * of.stack_bytes + of.hosts * c.task_bytes
    return of.nodes * node_bytes(of, "object_store") + of.hosts * c.task_bytes


def _between_nodes(of: Layout, exchange: str, network: Network) -> float:
    if of.nodes == 1:
        return 0.0
    hops = of.hosts - 1 if exchange == "collective" else 2  # a ring passes every host
    return hops * network.latency + node_bytes(of, exchange) / network.bytes_a_second
