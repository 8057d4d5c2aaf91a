"""index.json beside what analyses wrote: the contract with whoever shows it, and what is kept."""

import json

import pytest

from cohort.analysis.index import Entry, Index, add_to_index, read_index
from cohort.errors import ConfigError

NOISE = Entry(title="noise", table="noise.csv", figures={"noise": "A caption."})
OTHER = Entry(title="other", table="other.csv", figures={"one": "1", "two": "2"})


def test_what_a_file_says(tmp_path):
    file = add_to_index(tmp_path, {"noise": NOISE})
    assert json.loads(file.read_text()) == {
        "format": 1,
        "analyses": {
            "noise": {"title": "noise", "table": "noise.csv", "figures": {"noise": "A caption."}}
        },
    }


def test_others_stay_and_the_same_is_replaced(tmp_path):
    assert read_index(tmp_path) == Index()
    for entries in ({"noise": NOISE}, {"other": NOISE}, {"other": OTHER}):
        add_to_index(tmp_path, entries)
    assert read_index(tmp_path).analyses == {"noise": NOISE, "other": OTHER}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "does not describe analyses"),
        ('{"format": 2, "analyses": {}}', "is of format 2"),
        ('{"analyses": {"noise": {"table": "noise.csv"}}}', "is missing"),
    ],
)
def test_one_that_is_damaged_or_newer_is_not_written_over(tmp_path, text, sentence):
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        add_to_index(tmp_path, {"noise": NOISE})
    assert (tmp_path / "index.json").read_text() == text
