"""A script that must refuse: exit code 2, one line that says why, and nothing written."""

import hashlib
import runpy
import sys

import pytest
import torch

from tests.support.command import ROOT

BEFORE = ("reading ", "run folder: ", "starting ", "joining ")
"""What may be said before a refusal."""


def contents(folder):
    """{path: digest or None for a directory} of everything below."""
    return {
        str(path.relative_to(folder)): None
        if path.is_dir()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def refuses(tmp_path, monkeypatch, capsys):
    """Run a script in this process, in an empty directory, expect a refusal; returns the line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(name, *flags):
        script = str(ROOT / "scripts" / name)
        monkeypatch.setattr(sys, "argv", [script, *map(str, flags)])
        before, threads = contents(tmp_path), torch.get_num_threads()
        random_state = torch.get_rng_state()
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(script, run_name="__main__")
        captured = capsys.readouterr()
        assert caught.value.code == 2, captured
        assert all(line.startswith(BEFORE) for line in captured.out.splitlines()), captured.out
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1, captured.err
        assert "Traceback" not in captured.err
        assert contents(tmp_path) == before
        assert torch.get_num_threads() == threads
        assert torch.equal(torch.get_rng_state(), random_state)
        return captured.err

    return run


def check_says(line, *words):
    """All of the words."""
    assert all(word in line for word in words), line
