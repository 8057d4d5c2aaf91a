"""The README's Python runs as it stands, in a folder of its own."""

import re

from cohort import SelfDistillConfig, self_distill
from tests.support.command import ROOT, here, run


def write_block(folder, beginning):
    """Write the README's Python block that begins so into a file; returns the file."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (block,) = (block for block in blocks if block.startswith(beginning))
    file = folder / "example.py"
    file.write_text(block)
    return file


def test_ones_own_network_and_data(tmp_path):
    """In a process of its own, with a Ray of its own, of which there is nothing to be seen."""
    code, out, err = run(cwd=tmp_path, script=write_block(tmp_path, "import numpy"))
    assert (code, err) == (0, "")
    assert "test_accuracy" in out
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_a_network_that_stops_where_it_is_sure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    self_distill(SelfDistillConfig(workers=0, threads=1, steps=4, run_dir="runs/NAME"))
    code, out, err = here(script=write_block(tmp_path, "import torch"))
    assert (code, err) == (0, "")
    assert "torch.Size([16, 10])" in out
