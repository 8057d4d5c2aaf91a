"""A student's folder that anyone may have written: read, or refused in one sentence."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohort.errors import ConfigError
from cohort.learning.learner import WEIGHTS_FILE, weights_bytes
from cohort.learning.student_files import CARD_FILE, ModelCard, load_student, read_card
from cohort.models.registry import build_student

GOOD = {
    "format": 1, "network": "resnet8", "dataset": "digits", "classes": ["0", "1", "2"],
    "image_shape": [1, 8, 8], "mean": [0.25], "std": [0.5], "exit": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("student")
    student = build_student(
        "resnet8", num_classes=3, image_shape=(1, 8, 8), mean=(0.25,), std=(0.5,), seed=0, student=0
    )
    (path / WEIGHTS_FILE).write_bytes(weights_bytes(student))
    return path


def refusal(folder, text):
    (folder / CARD_FILE).write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_student(folder)
    return check_says(folder, str(caught.value))


def check_says(folder, said):
    """One sentence of a bearable length, which names the file."""
    assert str(folder) in said
    assert "\n" not in said
    assert len(said) < 900
    return said


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("network", [], "network is []: input should be a valid string"),
        ("network", None, "network is None"),
        ("network", "", "network is ''"),
        ("image_shape", [1, 8, 10**9], "image_shape.2 is 1000000000: input should be less"),
        ("image_shape", [1, 8, 10**400], "image_shape.2 is a number of 401 digits"),
        ("image_shape", [1, -8, 8], "image_shape.1 is -8: input should be greater than or equal to 1"),
        ("image_shape", [1, 2**14, 2**14], "image_shape is [1, 16384, 16384], which is more than"),
        ("image_shape", [10**6, 1, 1], "image_shape.0 is 1000000"),
        ("image_shape", ["1", "8", "8"], "image_shape.0 is '1': input should be a valid integer"),
        ("image_shape", [True, 8, 8], "image_shape.0 is True"),
        ("mean", ["0.25"], "mean.0 is '0.25': input should be a valid number"),
        ("mean", [float("nan")], "mean.0 is nan: input should be a finite number"),
        ("mean", [10**400], "mean.0 is a number of 401 digits"),
        ("mean", 3, "mean is 3"),
        ("std", [0], "std.0 is 0: input should be greater"),
        ("std", [1e-300], "std.0 is 1e-300"),
        ("std", [-1.0], "std.0 is -1.0"),
        ("std", [float("inf")], "std.0 is inf"),
        ("std", [1.0, 1.0], "mean and std must have a number for each channel"),
        ("classes", [], "classes is []"),
        ("classes", {"a": 1}, "classes is {'a': 1}"),
        ("classes", ["a", 3], "classes.1 is 3"),
        ("exit", "1", "exit is '1'"),
        ("exit", 10**400, "names exit a number of 401 digits"),
        ("format", 10**400, "is of format a number of 401 digits"),
        ("format", None, "format is None"),
    ],
)  # fmt: skip
def test_a_value_that_no_student_has(folder, key, value, words):
    assert words in refusal(folder, json.dumps({**GOOD, key: value}))


@pytest.mark.parametrize("key", sorted(set(GOOD) - {"format", "exit"}))
def test_a_missing_key(folder, key):
    text = json.dumps({k: v for k, v in GOOD.items() if k != key})
    assert f"{key} is missing" in refusal(folder, text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000, "[" * 100_000 + "]" * 100_000, "null", "", "\x00", "NaN", '"a"',
        '{"network": ' + "9" * 5000 + "}",
        json.dumps(GOOD).replace('"resnet8"', '"\\ud800"'),
        json.dumps(GOOD).replace("null", "[" * 5000 + "]" * 5000),
    ],
    ids=["open", "deep", "null", "empty", "zero", "nan", "text", "number", "surrogate", "deep-value"],
)  # fmt: skip
def test_what_is_no_card(folder, text):
    assert "does not describe a student: " in refusal(folder, text)


NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -1, 0, 2**63, 1e-300])
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def hostile(draw):
    """A good card of which one thing is another, or gone."""
    card = json.loads(json.dumps(GOOD))
    key = draw(st.sampled_from(sorted(card)))
    value = card[key]
    if isinstance(value, list) and draw(st.booleans()):
        value[draw(st.integers(0, len(value) - 1))] = draw(ANYTHING)
    elif draw(st.booleans()):
        card[key] = draw(ANYTHING)
    else:
        del card[key]
    return card


@given(hostile())
@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_card_is_a_card_or_a_sentence(folder: Path, card):
    """And what is a card gives a student, or says in a sentence why its weights are of another one."""
    (folder / CARD_FILE).write_text(json.dumps(card))
    try:
        read = read_card(folder)
        load_student(folder)
    except ConfigError as error:
        check_says(folder, str(error))
    else:
        assert isinstance(read, ModelCard)
        assert read.std[0] > 0
