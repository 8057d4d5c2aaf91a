"""Several runs and studies on a page: settings, paired differences, tables in every form."""

import csv
import doctest
import json

import pytest

from cohort import CohortConfig, ConfigError
from cohort.config_file import to_yaml
from cohort.report import tables, write
from cohort.report.groups import comparison, grouped_by_setting
from cohort.report.options import ReportOptions
from cohort.report.reading import read_run
from cohort.report.study_asked import varied
from cohort.report.study_part import study_part
from cohort.report.tables import Heading, Table, write_table
from cohort.run.folder import RunFolder
from cohort.runtime.config import resolve
from cohort.tuning.axes import Cases, LogUniform, Zip
from cohort.tuning.file.load import to_yaml as study_yaml
from cohort.tuning.folder import StudyFolder
from cohort.tuning.trials import points_of, trials_of
from tests.support.fake_run import record, student, write_run
from tests.support.study_files import GRID, load


def fake(path, accuracy, **config):
    records = [record(8, 0, accuracy)]
    run = write_run(path, status="finished", students=[student(0, accuracy)], records=records)
    values = {"exchange": "in_process", "k": 1, "teacher": "none"} | config
    (run / "config.yaml").write_text(to_yaml(resolve(CohortConfig(**values))))
    return read_run(RunFolder(run), path.name)


@pytest.fixture
def runs(tmp_path):
    """Two settings with two seeds each, and one seed more of the second."""
    return [
        fake(tmp_path / "a0", 0.5, seed=0, log_every=1),
        fake(tmp_path / "a1", 0.7, seed=1, threads=2),
        fake(tmp_path / "b0", 0.6, seed=0, lr=0.2),
        fake(tmp_path / "b1", 0.7, seed=1, lr=0.2),
        fake(tmp_path / "b2", 0.1, seed=2, lr=0.2),
    ]


def rows(part, name):
    (table,) = [t for s in part.sections for t in (*s.tables, *s.folded) if t.name == name]
    return list(table.rows), table


def test_runs_that_differ_in_the_seed_are_a_setting(runs):
    groups = grouped_by_setting(runs)
    assert {name: [run.name for run in found] for name, found in groups.items()} == {
        "lr=0.05": ["a0", "a1"],
        "lr=0.2": ["b0", "b1", "b2"],
    }


def test_long_names_of_settings_are_short_in_tables(runs, tmp_path):
    unlike = {"k": 2, "teacher": "peers", "lr": 0.3, "weight_decay": 0.01, "optimizer": "adam"}
    other = fake(tmp_path / "c0", 0.5, **unlike)
    assert list(grouped_by_setting([*runs, other])) == ["setting A", "setting B", "c0"]
    shown, _ = rows(comparison([*runs, other]), "comparison-settings")
    assert shown[1] == ("setting B", "b0, b1, b2", "0, 1, 2", *shown[1][3:])
    assert "0.01" in shown[2]


def test_differences_are_paired_by_seed_with_their_interval(runs):
    part = comparison(runs)
    # By hand: 10 and 0 points more; t of one degree of freedom at 97.5 % is 12.706.
    shown, table = rows(part, "comparison-test_accuracy")
    assert shown == [
        ("lr=0.05", "2", "60.00 ± 10.00", "–"),
        ("lr=0.2", "3", "46.67 ± 18.56", "+5.00 [-58.53, +68.53]"),
    ]
    row = table.data[1]
    assert (row["n"], row["pairs"]) == (3, 2)
    assert row["test_accuracy_diff"] == pytest.approx(0.05)
    assert row["test_accuracy_diff_low"] == pytest.approx(0.05 - 12.706 * 0.05, abs=1e-4)
    assert part.line == "5 runs, 2 settings, 3 seeds"
    assert not part.lacking


def test_a_seed_counts_once_in_a_setting(runs, tmp_path):
    again = fake(tmp_path / "a0-again", 0.9, seed=0)
    part = comparison([*runs, again])
    assert rows(part, "comparison-test_accuracy")[0][0] == ("lr=0.05", "2", "60.00 ± 10.00", "–")
    assert part.lacking == [
        "a0-again has the setting and the seed of another run, and is left out of means."
    ]


def test_the_run_to_compare_with_may_be_another(runs, tmp_path):
    page = tmp_path / "out" / "page.html"
    folders = tuple(str(run.folder.path) for run in runs[:3])
    options = ReportOptions(folders=folders, against=str(runs[3].folder.path), output=str(page))
    parts = write.gather(options).parts
    assert [part.title for part in parts] == ["Comparison", "a0", "a1", "b0"]
    shown, _ = rows(parts[0], "comparison-test_accuracy")
    assert {row[0]: row[3] for row in shown}["lr=0.05"] == "-5.00 [-68.53, +58.53]"
    assert any(
        "vs (b1)" in [h.text for h in t.headings] for s in parts[1].sections for t in s.tables
    )


def study_of(tmp_path, ended):
    """A study of ten trials with as many ended as are named; accuracies by k and seed."""
    study = load(tmp_path, GRID)
    folder = StudyFolder(tmp_path / "study")
    folder.path.mkdir()
    folder.study.write_text(study_yaml(study))
    for spec in [spec for point in points_of(study) for spec in trials_of(study, point)][:ended]:
        accuracy = 0.5 + spec.labels["k"] / 10 + spec.seed / 100
        measured = {"test_accuracy": accuracy, "train_entropy": 0.25}
        lines = [student(0, accuracy, **measured)]
        records = [record(8, 0, accuracy)]
        write_run(folder.trial(spec), status="finished", students=lines, records=records)
    return folder


def test_an_unfinished_study_shows_what_there_is(tmp_path):
    part = study_part(study_of(tmp_path, 4), "study")
    assert part.line == "A study of 10 trials with 2 seeds: 6 unfinished, 4 finished"
    assert part.state == "not ended"
    shown, _ = rows(part, "summary-test_accuracy")
    assert shown[1][-3:] == ("2", "70.50 ± 0.50", "+10.00 [+10.00, +10.00]")
    assert shown[2][-3:] == ("0 of 2", "–", "–")
    assert len(rows(part, "trials")[0]) == 10
    assert [s.title for s in part.sections] == [
        "What was asked", "Result", "Figure", "Curves", "Trials"
    ]  # fmt: skip


def test_a_study_says_what_it_asked_and_how_it_is_asked_again(tmp_path):
    folder = study_of(tmp_path, 4)
    part = study_part(folder, "study")
    (section,) = [s for s in part.sections if s.title == "What was asked"]
    assert rows(part, "study-space")[0] == [("k", "1,2,3"), ("teacher", "peers,none")]
    assert rows(part, "study-base")[0] == [
        ("command", "launch_cohort"), ("dataset", "digits"), ("epochs", "2"), ("lr", "0.1"),
        ("seeds", "0,1"),
    ]  # fmt: skip
    (command,) = section.commands
    assert command.endswith(f"sweep {folder.study}")


def test_axes_are_told_by_what_they_set():
    axes = {
        "how": Cases({"alone": {"k": 2, "teacher": "none"}, "usual": {}}),
        "lr": LogUniform(0.01, 0.1),
        "both": Zip({"k": (1, 2), "epochs": (4, 2)}),
    }
    assert [row for name, axis in axes.items() for row in varied(name, axis)] == [
        ("how = alone", "k 2; teacher none"), ("how = usual", "as all have it"),
        ("lr", "loguniform 0.01,0.1"), ("both", "k 1,2; epochs 4,2"),
    ]  # fmt: skip


def test_a_study_that_has_not_begun_says_so(tmp_path):
    part = study_part(study_of(tmp_path, 0), "study")
    assert part.lacking == ["No means: no trial has finished yet."]
    assert [s.title for s in part.sections] == ["What was asked", "Trials"]


def test_a_damaged_trial_or_study_is_said(tmp_path):
    folder = study_of(tmp_path, 2)
    spoilt, *_ = folder.trials.iterdir()
    (spoilt / "summary.json").write_text("{")
    part = study_part(folder, "study")
    (said,) = part.lacking
    assert said.startswith(
        f"Trial {spoilt.name} is left out: {spoilt}/summary.json does not describe"
    )
    assert len(rows(part, "trials")[0]) == 9
    folder.study.write_text("seeds: 3")
    part = study_part(folder, "study")
    assert (part.state, part.sections) == ("damaged", ())
    assert part.lacking[0].startswith(f"Nothing of the study can be shown: {folder.study}: ")


def test_a_study_is_no_run_to_compare_with(tmp_path):
    folder = str(study_of(tmp_path, 0).path)
    given = {"folders": (folder,), "output": str(tmp_path / "page.html")}
    with pytest.raises(ConfigError, match=r"--against is 'x', but no run is given"):
        write.report(ReportOptions(**given, against="x"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"output": "."}, "--output is '.', a folder"),
        ({"tables": "s3://bucket/x"}, "--tables is 's3://bucket/x', on a storage"),
        ({"folders": ("a", "./a")}, "./a is given twice"),
        ({"output": "file/page.html"}, "--output .*file cannot be written"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_read(
    tmp_path, monkeypatch, options, sentence
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=sentence):
        ReportOptions(**{"folders": ("a",)} | options)


def test_a_table_leaves_in_every_form(tmp_path):
    assert doctest.testmod(tables).failed == 0
    table = Table(
        name="t", title="T", headings=(Heading("who"), Heading("accuracy %", right=True)),
        rows=[("a|b_<i>", "50.0")], data=[{"who": "a|b_<i>", "accuracy": 0.123456789012345}, {"more": None}],
    )  # fmt: skip
    files = {file.suffix: file.read_text() for file in write_table(table, tmp_path)}
    assert [*csv.DictReader(files[".csv"].splitlines())] == [
        {"who": "a|b_<i>", "accuracy": "0.123456789012345", "more": ""},
        {"who": "", "accuracy": "", "more": ""},
    ]
    assert json.loads(files[".json"]) == table.data
    assert files[".md"] == "| who | accuracy % |\n| :--- | ---: |\n| a\\|b_&lt;i> | 50.0 |\n"
    assert "who & accuracy \\% \\\\" in files[".tex"]
    assert "a|b\\_<i> & 50.0 \\\\" in files[".tex"]
    assert files[".tex"].startswith("\\begin{tabular}{lr}\n\\toprule")


def test_figures_and_tables_leave_as_files(tmp_path, runs):
    out = tmp_path / "out"
    folders = (str(runs[0].folder.path),)
    options = ReportOptions(
        folders=folders,
        output=str(out / "page.html"),
        figures=str(out / "f"),
        tables=str(out / "t"),
    )
    files = write.report(options)
    assert {*files} == {path for path in out.rglob("*") if path.is_file()}
    assert {path.name for path in (out / "f").iterdir()} == {
        f"accuracy.{suffix}" for suffix in ("svg", "png", "pdf")
    }
    svg = (out / "f" / "accuracy.svg").read_text()
    assert ">epoch</text>" in svg
    assert "currentColor" not in svg
    assert (out / "f" / "accuracy.pdf").read_bytes().startswith(b"%PDF")
    assert (out / "t" / "students.csv").exists()
