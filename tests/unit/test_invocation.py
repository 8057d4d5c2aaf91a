"""Commands as the user of this process types them, whatever it was started by."""

import doctest
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cohort import invocation
from cohort.invocation import SCRIPTS, command_line
from tests.support.command import ROOT, here

RESUME = ("--resume", "my runs/a")


@pytest.fixture
def called(monkeypatch):
    """Called by this name, by a Python that the user called py."""

    def call(name):
        monkeypatch.setattr(sys, "argv", [str(name), "--k", "2"])
        monkeypatch.setattr(sys, "orig_argv", ["py", *sys.argv])

    return call


def test_from_python_it_is_the_installed_command():
    assert doctest.testmod(invocation) == (0, 2)


@pytest.mark.parametrize("path", ["my runs/a", 'it\'s "b"', "a\nb", "$HOME/*;`x`", "größe", "-x"])
def test_a_shell_reads_the_path_that_was_meant(path):
    printed = command_line("train", "--resume", invocation.as_argument(path))
    shown = subprocess.run(
        ["sh", "-c", printed.replace("cohort train --resume", "printf %s", 1)],
        stdout=subprocess.PIPE,
        check=True,
    )
    assert Path(os.fsdecode(shown.stdout)) == Path(path)


def test_a_script_names_its_neighbours_by_the_path_that_was_typed(called, monkeypatch):
    monkeypatch.chdir(ROOT / "tests")
    called("../scripts/launch_cohort.py")
    assert command_line("train", *RESUME) == "py ../scripts/launch_cohort.py --resume 'my runs/a'"
    assert command_line("bench ods") == "py ../scripts/bench_ods.py"


def test_a_script_of_the_user_s_own_is_none_of_ours(called, tmp_path):
    called(tmp_path / "scripts" / "evaluate.py")
    assert command_line("evaluate", "a") == "cohort evaluate a"


def test_as_a_module(called):
    called(invocation.PACKAGE / "__main__.py")
    assert command_line("bench ods", 1) == "py -m cohort bench ods 1"


def test_the_installed_command_by_its_path_where_it_is_not_on_the_path(
    called, monkeypatch, tmp_path
):
    command = tmp_path / "my tools" / "cohort"
    command.parent.mkdir()
    command.touch(mode=0o755)
    called(command)
    assert shlex.split(command_line("train", *RESUME)) == [str(command), "train", *RESUME]
    monkeypatch.setenv("PATH", str(command.parent), prepend=os.pathsep)
    assert command_line("train", *RESUME) == "cohort train --resume 'my runs/a'"


@pytest.mark.parametrize("script", SCRIPTS.values())
def test_each_script_calls_itself_by_its_own_name(script):
    code, out, err = here("--help", script=script)
    assert (code, err) == (0, "")
    assert out.split()[:3] == ["usage:", sys.orig_argv[0], f"{ROOT}/scripts/{script}"]
