"""What analyse.py is asked for, and the sentences that refuse it."""

import contextlib
import doctest
from pathlib import Path

import pytest

from cohort.analysis import options
from cohort.analysis.options import (
    ANALYSES,
    AnalyseOptions,
    distinct_names,
    names,
    note_unable,
    numbers,
    refuse_idle,
    refuse_unable,
)
from cohort.cli.parser import field_helps
from cohort.errors import ConfigError


def test_examples_in_docstrings_run():
    results = doctest.testmod(options)
    assert results.attempted >= 3
    assert results.failed == 0


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"analyses": ("noise", "nose")}, "--analyses is 'noise,nose'; it must be one or more of"),
        ({"analyses": ()}, "--analyses is ''; it must be one or more of noise,posterior,"),
        ({"sigmas": (0.1, -0.1)}, "--sigmas is '0.1,-0.1'; it must be numbers of 0 or greater"),
        ({"sigmas": (float("nan"),)}, "--sigmas is 'nan'; it must be numbers of 0 or greater"),
        ({"sigmas": (float("inf"),)}, "--sigmas is 'inf'; it must be numbers of 0 or greater"),
        ({"draws": 0}, "--draws is 0; it must be at least 1"),
        ({"examples": 1}, "--examples is 1; it must be at least 2"),
        ({"eta": 0}, "--eta is 0; it must be greater than 0"),
        ({"tau": -1.5}, "--tau is -1.5; it must be greater than 0"),
        ({"tau": float("nan")}, "--tau is nan; it must be greater than 0"),
        ({"temperature": 0.0}, "--temperature is 0.0; it must be greater than 0"),
        ({"hint_weight": -1.0}, "--hint-weight is -1.0; it must be 0 or greater"),
        ({"alpha": 1.5}, "--alpha is 1.5; it must be from 0 to 1"),
        ({"output": None, "runs": ("a", "b")}, "--output is missing: 2 runs are analysed together"),
        ({"output": None, "runs": ("s3://b/a",)}, "--output is missing: s3://b/a is on a storage"),
        ({"norm": "l1"}, "--norm is 'l1'; it must be one of rms, l2"),
    ],
)
def test_refused(wrong, sentence):
    with pytest.raises(ConfigError) as caught:
        AnalyseOptions(**{"runs": ("run",), "output": "out"} | wrong)
    assert str(caught.value).startswith(sentence)


def test_every_analysis_is_named_in_the_help():
    text = field_helps(AnalyseOptions)["analyses"]
    assert text.startswith(f"Of {', '.join(ANALYSES)}, with commas between.")


def test_words_and_numbers():
    assert names("noise,,") == ("noise",)
    assert numbers("--sigmas", "1e-3,2") == (0.001, 2)
    with pytest.raises(ConfigError, match=r"--sigmas is '0\.1,x'; it must be numbers with commas"):
        numbers("--sigmas", "0.1,x")


def test_what_a_run_lacks():
    lacking = {"separability": "exits", "early_exit": "exits", "transfer": "three members"}
    refuse_unable("plain", ("noise", "gradients"), lacking)
    with pytest.raises(ConfigError) as caught:
        refuse_unable("plain", ("noise", "transfer"), lacking)
    assert str(caught.value) == (
        "--analyses is 'noise,transfer', but transfer needs three members, which plain lacks; "
        "for it use --analyses noise,posterior,gradients,agreement,reliability,diversity,jacobian,ranking"
    )
    assert note_unable("plain", lacking) == (
        "plain has no part in separability and early_exit, for want of exits; "
        "transfer, for want of three members"
    )


def test_beside_the_run_if_there_is_one():
    assert AnalyseOptions(runs=("runs/a",)).folder == Path("runs/a/analysis")
    assert AnalyseOptions(runs=("runs/a", "runs/b"), output="out").folder == Path("out")


@pytest.mark.parametrize(
    ("given", "done", "exits", "refused"),
    [
        ({"alpha": 0.5}, ["gradients"], True, False),
        ({"alpha": 0.5}, ["gradients"], False, True),
        ({"temperature": 1.0}, ["noise"], True, True),
        ({"tau": 4.0}, ["transfer"], False, False),
        ({"norm": "l2"}, ["jacobian"], True, True),
        ({}, ["noise"], False, False),
    ],
)
def test_an_option_that_nothing_looks_at(given, done, exits, refused):
    options = AnalyseOptions(runs=("run",), **given)
    sentence = [
        f"^--{name} is {value}, which is for the .*; leave it" for name, value in given.items()
    ]
    with pytest.raises(ConfigError, match=sentence[0]) if refused else contextlib.nullcontext():
        refuse_idle(options, done, exits=exits)


def test_names_of_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert distinct_names(["runs/a", "runs/b"]) == ["a", "b"]
    assert distinct_names(["runs/a/alone", "runs/b/alone/", "c"]) == [
        "a-alone", "b-alone", f"{tmp_path.name}-c",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"RUN_DIR \./a is given twice"):
        distinct_names(["a", "./a"])
