"""The commands that train, told apart by their configs, so that any run can be gone on with."""

import shutil

import pytest

from cohort import ConfigError, resume
from cohort.commands import COMMANDS, ODS_DISTILL, ONLY, SELF_DISTILL, TRAIN, command_of
from cohort.config_file import names_of
from tests.support.command import ROOT

WRITTEN = ROOT / "tests" / "formats" / "1"


def test_each_has_a_key_that_no_other_has():
    for key, name in ONLY.items():
        having = [command for command in COMMANDS if key in names_of(command.config)]
        assert [command.name for command in having] == [name]
    assert {command.name for command in COMMANDS} == set(ONLY.values())


@pytest.mark.parametrize(
    ("command", "keys"),
    [(TRAIN, "k: 2"), (SELF_DISTILL, "exits: null"), (ODS_DISTILL, "teachers: runs/teachers")],
    ids=["train", "self-distill", "ods-distill"],
)
def test_a_run_is_known_by_its_config(tmp_path, command, keys):
    (tmp_path / "config.yaml").write_text(f"lr: 0.1\n{keys}\n")
    assert command_of(tmp_path) is command


def test_what_is_no_run_cannot_be_gone_on_with(tmp_path):
    with pytest.raises(ConfigError, match=r"is not the folder of a run: it has no config\.yaml"):
        resume(tmp_path)
    (tmp_path / "config.yaml").write_text("lr: 0.1\n")
    with pytest.raises(ConfigError, match="is of no command that trains: it has none of k, exits"):
        resume(tmp_path)


@pytest.mark.parametrize(
    ("name", "given"), [("cohort", {"epochs": 2}), ("self_distill", {"epochs": 2})]
)
def test_any_run_is_gone_on_with_by_its_folder_alone(tmp_path, name, given):
    run_dir = shutil.copytree(WRITTEN / name, tmp_path / name)
    result = resume(run_dir, given=given)
    assert result.summary["status"] == "finished"
    assert result.summary["epochs"] == 2
