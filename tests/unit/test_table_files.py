"""Tables as files: all that was measured, and what a paper prints."""

import json

import pandas as pd
import pytest

from cohort.errors import ConfigError
from cohort.reporting.formatting import percent
from cohort.reporting.table_files import Column, check_file, write_table

ROWS = [
    {"run": "a_b", "student": 0, "accuracy": 0.71234, "more": [1]},
    {"run": "c|d", "accuracy": float("nan"), "dee": 2.0},
]
COLUMNS = [
    Column("run", "run"),
    Column("student", "student", str),
    Column("accuracy %", "accuracy", percent),
    Column("nobody has it", "missing"),
]


def written(tmp_path, suffix):
    path = tmp_path / f"table{suffix}"
    write_table(path, ROWS, COLUMNS, ["100 images"])
    return path


def test_csv_and_json_have_everything(tmp_path):
    table = pd.read_csv(written(tmp_path, ".csv"))
    assert list(table) == ["run", "student", "accuracy", "more", "dee"]
    assert table["accuracy"][0] == 0.71234
    told = json.loads(written(tmp_path, ".json").read_text())
    assert told["rows"] == [ROWS[0], {**ROWS[1], "accuracy": None}]
    assert told["notes"] == ["100 images"]
    assert "torch" in told["versions"]


def test_markdown(tmp_path):
    assert written(tmp_path, ".md").read_text() == (
        "| run | student | accuracy % |\n| --- | ---: | ---: |\n| a_b | 0 | 71.2 |\n"
        "| c\\|d |  | – |\n\n100 images\n"
    )


def test_latex(tmp_path):
    assert written(tmp_path, ".tex").read_text().splitlines() == [
        "% 100 images",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"run & student & accuracy \% \\",
        r"\midrule",
        r"a\_b & 0 & 71.2 \\",
        r"c|d &  & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_nothing_is_overwritten_and_no_format_is_guessed(tmp_path):
    path = written(tmp_path, ".csv")
    for output, said in {
        str(path): "exists already; name a new file",
        str(tmp_path / "table.xls"): "must end in .csv, .json, .md or .tex",
        str(tmp_path / "no" / "table.md"): "a folder that is there",
        "s3://bucket/table.md": "on a storage",
    }.items():
        with pytest.raises(ConfigError, match=f"--output.*{said}"):
            check_file(output)
    assert check_file(str(tmp_path / "table.MD")).name == "table.MD"


def test_a_folder_of_any_name_keeps_to_its_cell(tmp_path):
    """Of a name that is no UTF-8, as the system gives it to Python, too."""
    for suffix in (".csv", ".json", ".md", ".tex"):
        path = tmp_path / f"table{suffix}"
        write_table(path, [{"run": "a\\|b\nc \udc80"}], COLUMNS[:1], ["two\nlines"])
        text = path.read_text("utf-8")
        if suffix == ".md":
            assert text.splitlines()[2] == r"| a\\\|b c ? |"
        if suffix == ".tex":
            assert r"a\textbackslash{}|b c ? \\" in text.splitlines()
            assert "% two lines" in text.splitlines()
