"""Machines of a network of their own: Linux network namespaces, each with one address, on one switch."""

import functools
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


def run(*words: object) -> None:
    subprocess.run([*map(str, words)], check=True, capture_output=True, text=True)


@functools.cache
def why_not() -> str:
    """Why there are none here; empty if they work."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "needs root and the command ip"
    try:
        with network(1):
            return ""
    except subprocess.CalledProcessError as error:
        return f"no network namespaces here: {error.stderr.strip()}"


class Machine:
    """One namespace."""

    def __init__(self, name: str, address: str, switch: str) -> None:
        self.name = name
        self.address = address
        self.card = f"02:00:00:00:00:{int(address.rpartition('.')[2]):02x}"
        self._switch = switch

    def know(self, other: "Machine") -> None:
        """Ask nobody where the other is: the silence would tell that it is not there."""
        found = (other.address, "lladdr", other.card, "dev", "eth0", "nud", "permanent")
        run("ip", "-n", self.name, "neigh", "replace", *found)

    @property
    def command(self) -> tuple[str, ...]:
        """What stands before a command that is to run there."""
        return ("ip", "netns", "exec", self.name)

    def connect(self, *, up: bool) -> None:
        """Plug its cable in, or out: what others send it is then lost, and they are not told."""
        run("ip", "-n", self._switch, "link", "set", self.name, "up" if up else "down")


@contextmanager
def network(size: int) -> Iterator[list[Machine]]:
    """So many machines that reach each other, and nothing else."""
    own = uuid.uuid4().hex[:6]
    switch = f"sw{own}"
    with ExitStack() as stack:
        _namespace(stack, switch)
        run("ip", "-n", switch, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", switch, "link", "set", "bridge", "up")
        machines = [_machine(stack, switch, own, number) for number in range(1, size + 1)]
        for here in machines:
            for there in machines:
                here.know(there)
        yield machines


def _namespace(stack: ExitStack, name: str) -> None:
    run("ip", "netns", "add", name)
    stack.callback(run, "ip", "netns", "del", name)
    run("ip", "-n", name, "link", "set", "lo", "up")


def _machine(stack: ExitStack, switch: str, own: str, number: int) -> Machine:
    machine = Machine(f"m{number}{own}", f"10.77.0.{number}", switch)
    _namespace(stack, machine.name)
    ends = (machine.name, "netns", switch, "type", "veth", "peer", "name", "eth0")
    run("ip", "link", "add", *ends, "address", machine.card, "netns", machine.name)
    run("ip", "-n", machine.name, "addr", "add", f"{machine.address}/24", "dev", "eth0")
    run("ip", "-n", machine.name, "link", "set", "eth0", "up")
    run("ip", "-n", switch, "link", "set", machine.name, "master", "bridge")
    machine.connect(up=True)
    return machine
