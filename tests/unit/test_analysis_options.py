"""What analyse.py is asked for, and the sentences that refuse it."""

import doctest

import pytest

from cohort.analysis import options
from cohort.analysis.options import AnalyseOptions, names, numbers, refuse_without_exits
from cohort.analysis.runs import distinct_names
from cohort.errors import ConfigError


def test_examples_in_docstrings_run():
    results = doctest.testmod(options)
    assert results.attempted >= 2
    assert results.failed == 0


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"analyses": ("noise", "nose")}, "--analyses is 'noise,nose'; it must be one or more of"),
        ({"analyses": ()}, "--analyses is ''; it must be one or more of noise,gradients,"),
        ({"sigmas": (0.1, -0.1)}, "--sigmas is '0.1,-0.1'; it must be numbers of 0 or greater"),
        ({"sigmas": (float("nan"),)}, "--sigmas is 'nan'; it must be numbers of 0 or greater"),
        ({"sigmas": (float("inf"),)}, "--sigmas is 'inf'; it must be numbers of 0 or greater"),
        ({"draws": 0}, "--draws is 0; it must be at least 1"),
        ({"examples": 1}, "--examples is 1; it must be at least 2"),
    ],
)
def test_refused(wrong, sentence):
    with pytest.raises(ConfigError) as caught:
        AnalyseOptions(runs=("run",), output="out", **wrong)
    assert str(caught.value).startswith(sentence)


def test_words_and_numbers():
    assert names("noise,,") == ("noise",)
    assert numbers("--sigmas", "1e-3,2") == (0.001, 2)
    with pytest.raises(ConfigError, match=r"--sigmas is '0\.1,x'; it must be numbers with commas"):
        numbers("--sigmas", "0.1,x")


def test_without_exits():
    refuse_without_exits("plain", ("noise", "gradients"))
    with pytest.raises(
        ConfigError, match="early_exit needs a student with exits and that of plain"
    ):
        refuse_without_exits("plain", ("noise", "early_exit"))


def test_names_of_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert distinct_names(["runs/a", "runs/b"]) == ["a", "b"]
    assert distinct_names(["runs/a/alone", "runs/b/alone/", "c"]) == [
        "a-alone", "b-alone", f"{tmp_path.name}-c",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"RUN_DIR \./a is given twice"):
        distinct_names(["a", "./a"])
