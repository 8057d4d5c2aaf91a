"""The result table: rows, dashes, and differences from being alone."""

import doctest
import io
import math

import pytest
from rich.console import Console

from cohort.reporting import formatting
from cohort.reporting.table import print_summary, summary_table

SUMMARY = {
    "status": "finished",
    "steps": 880,
    "wall_seconds": 200.4,
    "images_per_second": 412.3,
    "restarts": 0,
    "dropped": [],
    "students": [
        {
            "student": 0,
            "model": "resnet32",
            "parameters": 464154,
            "test_accuracy": 0.7119,
            "test_nll": 1.0512,
            "test_brier": 0.3921,
            "test_ece": 0.0312,
            "train_entropy": 0.4049,
        },
        {"student": 1, "model": "wrn_28_10", "parameters": 36536884, "test_accuracy": None},
    ],
    "ensemble": {"test_accuracy": 0.73, "test_nll": 1.0, "test_brier": 0.38, "test_ece": 0.02},
}
ALONE = {
    "students": [
        {"student": 0, "model": "resnet32", "parameters": 464154, "test_accuracy": 0.6899},
        {"student": 1, "model": "wrn_28_10", "parameters": 36536884, "test_accuracy": 0.78},
    ],
    "ensemble": {"test_accuracy": 0.7425},
}


def cells(table):
    columns = [list(column.cells) for column in table.columns]
    return list(zip(*columns, strict=True))


def headings(table):
    return [column.header for column in table.columns]


def test_examples_in_docstrings_run():
    results = doctest.testmod(formatting)
    assert results.attempted >= 3
    assert results.failed == 0


def test_a_row_per_student_and_one_for_the_ensemble():
    table = summary_table(SUMMARY)
    assert headings(table)[:4] == ["student", "network", "parameters", "accuracy\n%"]
    assert cells(table) == [
        ("0", "resnet32", "464,154", "71.19", "1.051", "0.392", "0.031", "0.405"),
        ("1", "wrn_28_10", "36,536,884", "–", "–", "–", "–", "–"),
        ("ensemble", "–", "–", "73.00", "1.000", "0.380", "0.020", "–"),
    ]


def test_a_baseline_adds_its_rows_and_the_difference_in_points():
    table = summary_table(SUMMARY, ALONE)
    assert headings(table)[-1] == "vs\nalone"
    rows = cells(table)
    labels = ["0", "1", "ensemble", "0 alone", "1 alone", "ensemble alone"]
    assert [row[0] for row in rows] == labels
    assert [row[-1] for row in rows] == ["+2.20", "–", "-1.25", "", "", ""]
    assert rows[4][3] == "78.00"


def test_what_the_columns_are_is_said_of_those_that_are_shown():
    plain, compared = (str(summary_table(SUMMARY, other).caption) for other in (None, ALONE))
    assert [line.split(": ")[0] for line in plain.splitlines()] == [
        "NLL, Brier, ECE", "train entropy"
    ]  # fmt: skip
    assert compared.splitlines()[:-1] == plain.splitlines()
    assert compared.splitlines()[-1].startswith("vs alone: points of accuracy")
    row = SUMMARY["students"][0] | {"test_cnll": 1.0, "dee": 1.5, "test_diversity": 0.1}
    distilled = str(summary_table({"students": [row]}).caption)
    for words in ("cNLL, cBrier, cECE: NLL", "DEE: deep-ensemble", "KL: mean divergence (nat)"):
        assert f"\n{words}" in distilled


def dees_of(*lines):
    students = [{"student": k, "model": "be", **line} for k, line in enumerate(lines)]
    table = summary_table({"students": students, "teachers": [{"size": 1}, {"size": 4}]})
    column = headings(table).index("DEE")
    return [row[column] for row in cells(table)][: len(lines)]


def test_an_equivalent_outside_of_the_ladder_is_marked():
    ends = [{"dee": 1.0}, {"dee": 4.0}]
    assert dees_of(*(line | {"dee_outside": 0} for line in ends)) == ["1.00", "4.00"]
    assert dees_of({"dee": 1.0, "dee_outside": -1}, {"dee": 4.0, "dee_outside": 1}) == ["<1", ">4"]
    assert dees_of(*ends) == ["≤1", "≥4"]  # of a version that did not tell


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_validation_split_that_is_all_right_is_told(missing):
    row = SUMMARY["students"][0] | {"test_cnll": missing, "test_temperature": missing}
    caption = str(summary_table({"students": [row]}).caption)
    assert caption.startswith("No example of the validation split is wrong")
    row |= {"test_cnll": 1.0, "test_temperature": 1.5}
    assert "No example" not in str(summary_table({"students": [row]}).caption)


def test_a_huge_number_is_shortened_and_the_table_stays_in_its_place():
    astray = {**SUMMARY["students"][0], "test_nll": 1e300, "train_entropy": -1e300}
    summary = {**SUMMARY, "students": [astray], "wall_seconds": 1e300}
    stream = io.StringIO()
    print_summary(Console(file=stream, width=80), summary)
    rows = [line for line in stream.getvalue().splitlines() if "resnet32" in line]
    assert [row.split()[4:] for row in rows] == [["1e+300", "0.392", "0.031", "-1e+300"]]
    assert formatting.number(-1e20, "+.2f") == "-1e+20"
    assert formatting.duration(1e300) == "–"


def test_another_network_in_the_same_place_is_not_compared():
    other = {"students": [{"student": 0, "model": "resnet8", "test_accuracy": 0.5}]}
    assert [row[-1] for row in cells(summary_table(SUMMARY, other))][:3] == ["–", "–", "–"]


def test_a_summary_of_a_run_that_failed_early_still_prints():
    out = io.StringIO()
    print_summary(Console(file=out), {"status": "failed"})
    assert "failed, – steps in –" in out.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_print_summary(terminal):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120 if terminal else 40)
    summary = {**SUMMARY, "restarts": 2, "teacher_restarts": 1, "dropped": [1, 3]}
    print_summary(console, summary, ALONE)
    lines = out.getvalue().splitlines()
    row = next(line for line in lines if "resnet32" in line and "+2.20" in line)
    assert "464,154" in row
    assert lines[-1] == (
        "finished, 880 steps in 0:03:20, 412 images/s per student, "
        "2 restarts, 1 restarts of teachers, without students 1, 3"
    )


def test_the_table_fits_a_terminal_of_80_columns():
    out = io.StringIO()
    print_summary(Console(file=out, force_terminal=True, width=80, no_color=True), SUMMARY, ALONE)
    row = next(line for line in out.getvalue().splitlines() if "36,536,884" in line)
    assert row.split() == ["1", "wrn_28_10", "36,536,884", *"–––––", "–"]
    assert "NLL, Brier, ECE: negative log-likelihood" in out.getvalue()


FOUND = {
    "test_map": 0.4512,
    "test_map_trapezoid": 0.4401,
    "test_rank1": 0.7,
    "test_rank5": 0.85,
    "test_rank10": 0.9,
    "test_unmatched_queries": 0,
    "train_entropy": 0.4,
}


def people(**more):
    row = {"student": 0, "model": "mobilenet_v1", "parameters": 3_999_999, **FOUND, **more}
    return {"students": [row], "ensemble": {**FOUND, **more, "test_map": 0.5}}


def test_people_found_again_have_columns_of_their_own():
    table = summary_table(people())
    assert headings(table)[3:] == [
        "mAP\n%", "trape-\nzoid %", "rank\n1 %", "train\nentropy"
    ]  # fmt: skip
    assert cells(table)[0][3:] == ("45.12", "44.01", "70.0", "0.400")
    several = summary_table(people(test_multi_map=0.6))
    assert dict(zip(headings(several), cells(several)[0], strict=True))["multi\nmAP %"] == "60.00"
    said = str(several.caption)
    for words in ("mAP %, multi mAP %: mean", "trapezoid %: the same", "rank 1 %: queries"):
        assert words in said
    assert "NLL" not in said


def test_all_of_people_fit_80_columns():
    out, best = io.StringIO(), people(test_map=1.0, test_map_trapezoid=1.0, test_multi_map=1.0)
    best["students"][0] |= {"model": "resnet8", "train_entropy": 2.065}
    console = Console(file=out, force_terminal=True, width=80, no_color=True)
    print_summary(console, best)
    row = next(line for line in out.getvalue().splitlines() if line.startswith("0  "))
    assert row.split()[1:] == ["resnet8", "3,999,999", *["100.00"] * 3, "70.0", "2.065"]


def test_people_beside_a_baseline_fit_80_columns():
    out, alone = io.StringIO(), people(test_multi_map=0.6)
    alone["students"][0]["test_map"] = 0.4
    console = Console(file=out, force_terminal=True, width=80, no_color=True)
    print_summary(console, people(test_multi_map=0.6), alone)
    row = next(line for line in out.getvalue().splitlines() if line.startswith("0  "))
    assert row.split()[1:] == [
        "mobilenet_…", "3,999,999", "45.12", "44.01", "60.00", "70.0", "0.400", "+5.12"
    ]  # fmt: skip


def host(students, busy, waited):
    keys = ("students", "busy_seconds_per_epoch", "wait_seconds_per_epoch")
    return dict(zip(keys, (students, busy, waited), strict=True))


def test_who_waits_for_whom_stands_in_the_table_and_below_it():
    output = io.StringIO()
    slow = {**SUMMARY, "hosts": [host([0], 4.0, 7.5), host([1], 11.0, 0.5)]}
    table = summary_table(slow)
    assert headings(table)[-1] == "waits\ns"
    assert [row[-1] for row in cells(table)] == ["7.5", "0.5", "–"]
    print_summary(Console(file=output, width=100), slow)
    assert "waits s: seconds an epoch in which a student's process waited" in output.getvalue()
    assert output.getvalue().endswith("student 0 waits 7.0 s an epoch for student 1\n")


def test_students_who_keep_pace_have_no_such_column():
    assert "waits\ns" not in headings(
        summary_table({**SUMMARY, "hosts": [host([0], 4.0, 0.3), host([1], 4.1, 0.2)]})
    )
