"""Runs a command with the code of this checkout, whatever is installed and wherever one stands."""

import os
import sys
from pathlib import Path
from typing import NoReturn

ROOT = str(Path(__file__).resolve().parents[1])


def run(command: str) -> NoReturn:
    """Run ``cohort COMMAND`` with this process's arguments and exit."""
    sys.path.insert(0, ROOT)
    # Ray's processes, and others that this one starts, inherit it.
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, dict.fromkeys([ROOT, *inherited])))

    from cohort.cli.main import main

    main([*command.split(), *sys.argv[1:]])
