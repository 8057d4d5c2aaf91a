"""The README's Python runs as it stands, in a folder of its own."""

import re

from cohort import SelfDistillConfig, self_distill
from tests.support.command import ROOT, run


def run_block(folder, beginning):
    """Run the README's Python block that begins so; returns what it printed."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (block,) = (block for block in blocks if block.startswith(beginning))
    (folder / "example.py").write_text(block)
    code, out, err = run(cwd=folder, script=folder / "example.py")
    assert code == 0, err
    return out


def test_ones_own_network_and_data(tmp_path):
    assert "test_accuracy" in run_block(tmp_path, "import numpy")
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_a_network_that_stops_where_it_is_sure(tmp_path):
    run_dir = str(tmp_path / "runs" / "NAME")
    self_distill(SelfDistillConfig(workers=0, threads=1, steps=4, run_dir=run_dir))
    assert "torch.Size([16, 10])" in run_block(tmp_path, "import torch")
