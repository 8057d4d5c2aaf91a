"""Every step's loss is what it was, to the last bit: a change that is not about numbers changes none."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.command import ROOT
from tests.support.losses import STEPS

LOSSES = Path(__file__).with_name("losses.json")


def test_twenty_steps_of_every_method_are_what_they_were():
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.losses"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = json.loads(LOSSES.read_text())
    assert {len(losses) for of in expected.values() for losses in of.values()} == {STEPS}
    assert json.loads(done.stdout) == expected
