"""The README's Python runs as it stands, in a folder of its own."""

import re
import subprocess
import sys

from tests.support.command import ROOT, environment


def test_the_python_of_the_readme_runs(tmp_path):
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "example.py").write_text(block)
    done = subprocess.run(
        [sys.executable, "example.py"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "test_accuracy" in done.stdout
    assert len(list((tmp_path / "runs").iterdir())) == 1
