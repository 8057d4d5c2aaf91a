"""The page of a study whose files are damaged has a sentence on it, and runs nothing that they name."""

import json
import re

import pytest

from cohort.report.study_part import study_part
from cohort.tuning.file.load import load_study
from cohort.tuning.folder import StudyFolder
from cohort.tuning.state import known_trials
from tests.support.fake_run import student, write_run

STUDY = """command: launch_cohort
base: {dataset: digits, epochs: 1}
space: {k: {grid: [2, 3]}}
seeds: [0, 1]
metric: test_accuracy
mode: max
"""


@pytest.fixture
def folder(tmp_path):
    return StudyFolder.create(tmp_path / "study", STUDY)


@pytest.mark.parametrize("line", ["{}", '{"trial": [1], "kind": "failed"}', "[1]"])
def test_damaged_decisions_are_one_sentence(folder, line):
    folder.decisions_file.write_text(f"{line}\n")
    (said,) = study_part(folder, "study").lacking
    assert re.fullmatch(r"Nothing of the study can be shown: .+\.", said)


def test_decisions_that_are_a_folder_are_one_sentence(folder):
    folder.decisions_file.mkdir()
    (said,) = study_part(folder, "study").lacking
    assert "Is a directory" in said


def test_a_number_without_end_is_one_sentence(folder):
    spec = known_trials(load_study(folder.study), folder)[0]
    write_run(folder.trial(spec), status="finished", students=[student(0, 10**400)])
    part = study_part(folder, "study")
    assert part.line == "A study of 3 trials with 2 seeds: 3 unfinished"
    assert part.lacking[0].startswith(f"Trial {spec.name} is left out: ")


def test_a_study_of_failures_says_so(folder):
    specs = known_trials(load_study(folder.study), folder)
    lines = [{"trial": each.name, "kind": "failed", "reason": "<b>"} for each in specs]
    folder.decisions_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    part = study_part(folder, "study")
    assert part.line == "A study of 4 trials with 2 seeds: 4 failed"
    assert part.lacking == ["No means: no trial has finished yet."]


def test_a_search_that_has_suggested_less_than_it_will_has_not_ended(tmp_path):
    text = STUDY.replace("grid", "choice") + "search: {kind: optuna, samples: 1}\n"
    folder = StudyFolder.create(tmp_path / "study", text)
    part = study_part(folder, "study")
    assert part.state == "not ended"
    assert part.line == "A study of 0 trials with 2 seeds: none begun"
