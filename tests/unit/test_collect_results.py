"""What scripts/collect_results.py makes of a study's folder and of a benchmark's file."""

import json
import shutil

import collect_results
import pytest
from collect_results import BEGIN, END, collect, put_between_marks, readme_table, studies_page

from cohort.tuning.axes import Grid
from cohort.tuning.file.load import to_yaml
from cohort.tuning.folder import StudyFolder
from cohort.tuning.report import Report
from cohort.tuning.trials import points_of, trials_of
from tests.support.fake_run import record, student, write_run
from tests.support.studies import make_study

STUDY = make_study(
    base={"dataset": "cifar100"},
    space={"k": Grid((2,)), "teacher": Grid(("none", "peers"))},
    seeds=(0, 1),
    report=Report(metrics=("test_accuracy",), baseline={"teacher": "none"}),
)
ACCURACY = {("none", 0): 0.5, ("none", 1): 0.6, ("peers", 0): 0.55, ("peers", 1): 0.67}


@pytest.fixture
def results(tmp_path):
    """A folder of results with a study whose four trials have ended, and a benchmark's file."""
    folder = StudyFolder.create(tmp_path / "elsewhere" / "small", to_yaml(STUDY))
    for spec in (spec for point in points_of(STUDY) for spec in trials_of(STUDY, point)):
        accuracy = ACCURACY[spec.labels["teacher"], spec.seed]
        records = [record(1, 0, accuracy) | {"time": 1.7e9 + spec.seed * 86400}]
        versions = {"commit": "0123456789abcdef"}
        write_run(
            folder.trial(spec), status="finished", students=[student(0, accuracy)],
            records=records, versions=versions,
        )  # fmt: skip
    results = tmp_path / "results"
    collect(folder.path, results / "studies")
    bench = {
        "date": "2026-11-26T19:01:33+00:00",
        "commit": "abcdef0123456789",
        "summary": {"8": {"eager": [90, 100, 110], "graph": [4, 5, 6], "speedup": [15, 20.04, 25]}},
    }
    (results / "bench.json").write_text(json.dumps(bench))
    return results


def test_a_row_of_a_study_has_both_points_and_their_paired_difference(results):
    """Differences 0.05 and 0.07: mean 0.06, and 12.706 standard errors of 0.01 on either side."""
    row = {
        "what": "teaching",
        "study": "small",
        "point": {"teacher": "peers"},
        "metric": "test_accuracy",
    }
    line = readme_table([row], results).splitlines()[-1]
    assert line == (
        "| teaching | 55.00 ± 5.00 | 61.00 ± 6.00 | +6.00 [-6.71, +18.71] | 2023-11-15 | 0123456 |"
    )


def test_a_row_of_a_benchmark_has_medians_and_the_ratio_of_its_rounds(results):
    keys = {"without": "8.eager", "with": "8.graph", "ratio": "8.speedup"}
    line = readme_table([{"what": "a graph", "bench": "bench.json", **keys}], results).splitlines()[
        -1
    ]
    assert line == "| a graph | 100 | 5 | × 20 [15, 25] | 2026-11-26 | abcdef0 |"


def test_what_names_no_one_point_is_refused(results):
    row = {"what": "", "study": "small", "point": {"k": 2}, "metric": "test_accuracy"}
    with pytest.raises(SystemExit, match=r"has 2 rows of \{'k': 2\}, and one is wanted"):
        readme_table([row], results)


def test_the_page_says_how_each_study_is_run_again(results):
    (results / "studies" / "unrelated").mkdir()
    page = studies_page(results / "studies")
    assert page.count("## ") == 1
    assert (
        "python scripts/sweep.py scripts/results/studies/small/study.yaml --study-dir studies/small "
        "--data-root data\n" in page
    )
    assert "2023-11-15, commit 0123456; 4 of 4 trials finished.\n" in page
    assert "| 2 | none | 2 | 55.00 ± 5.00 | – |\n" in page


def test_the_head_of_a_study_is_kept(results, tmp_path):
    file = results / "studies" / "small" / "study.yaml"
    file.write_text(f"# Why.\n{file.read_text()}")
    collect(tmp_path / "elsewhere" / "small", results / "studies")
    assert "## small\n\nWhy.\n" in studies_page(results / "studies")


def test_an_unfinished_study_shows_what_there_is(results, tmp_path):
    study_dir = tmp_path / "elsewhere" / "small"
    for run_dir in (study_dir / "trials").iterdir():
        if "peers" in run_dir.name:
            shutil.rmtree(run_dir)
    collect(study_dir, results / "studies")
    assert "2 of 4 trials finished." in studies_page(results / "studies")


def test_only_what_stands_between_the_marks_is_replaced(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put_between_marks(page, "new")
    assert page.read_text() == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(SystemExit, match="lacks the marks"):
        put_between_marks(page, "new")


def test_the_readme_is_what_the_collected_files_make(monkeypatch):
    """No figure in it is written by hand."""
    root, pages = collect_results.ROOT, {}
    monkeypatch.setattr(
        collect_results, "atomic_write", lambda path, text: pages.update({path: text})
    )
    collect_results.main([], tell=lambda text: None)
    assert len(pages) == 2
    for page, text in pages.items():
        assert page.read_text() == text, f"run scripts/collect_results.py: {page.relative_to(root)}"
