"""The tests' own helper: nothing that a test started is left when it ends."""

import os

import pytest

from tests.support.command import end_all, start, wait_until

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(900)"])
print(child.pid, flush=True)
time.sleep(900)
"""


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_a_process_and_its_children_are_ended_and_its_pipes_closed(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    process = start(script=tmp_path / "parent.py")
    child = int(process.stdout.readline())
    end_all()
    assert process.returncode == -9
    assert process.stdout.closed
    assert process.stderr.closed
    wait_until(lambda: has_ended(child))


def has_ended(pid):
    """Gone, or a zombie that whoever inherited it has yet to bury."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return not os.path.exists(f"/proc/{pid}")
