"""The configuration: its flags, its defaults, and what it refuses."""

import dataclasses
import math
import os
import subprocess
import sys
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohort.benchmark.exchange.config import BenchConfig
from cohort.benchmark.self_distill.config import StepBenchConfig
from cohort.cli.parser import field_helps, parse
from cohort.config import LARGEST, data_keys, flag
from cohort.config_file import load_config, read_config, to_yaml
from cohort.data.recipes import CIFAR, DIGITS, GENERAL, fill_in, ods_recipe
from cohort.errors import ConfigError
from cohort.run.start import extend
from cohort.runtime.config import CohortConfig, resolve

FLAGS = {
    "--dataset": "digits",
    "--data-root": "data",
    "--download": False,
    "--image-size": None,
    "--train-subset": None,
    "--test-subset": None,
    "--data-seed": None,
    "--validation": None,
    "--autoaugment": False,
    "--cutout": None,
    "--crop": None,
    "--padding": None,
    "--color-jitter": None,
    "--erasing": None,
    "--feed": None,
    "--decoders": None,
    "--skip-broken": False,
    "--distance": "euclidean",
    "--epochs": None,
    "--steps": None,
    "--batch-size": None,
    "--lr": None,
    "--weight-decay": None,
    "--decay-on": "all",
    "--optimizer": None,
    "--lr-schedule": None,
    "--warmup-epochs": None,
    "--seed": 0,
    "--label-smoothing": 0.0,
    "--clip-grad-norm": None,
    "--precision": "fp32",
    "--capture": "auto",
    "--compile": False,
    "--threads": None,
    "--pretrained": None,
    "--checkpoint-every": None,
    "--keep": 2,
    "--eval-every": None,
    "--log-every": 10,
    "--log-to": None,
    "--tensorboard": False,
    "--run-dir": None,
    "--trust-code": False,
    "--k": 2,
    "--gpus": None,
    "--per-process": None,
    "--balance": False,
    "--students": None,
    "--teacher": "peers",
    "--schedule": "simultaneous",
    "--temperature": 1.0,
    "--mimicry": "kl",
    "--mimicry-weight": 1.0,
    "--mimicry-beta": None,
    "--standardise": False,
    "--exchange": "object_store",
    "--aggregate": "auto",
    "--wire": "fp32",
    "--on-failure": "restart",
    "--hang-after": None,
    "--max-failures": 3,
    "--address": None,
    "--baseline": False,
}
"""Every flag of launch_cohort.py and its default. A new one is added here on purpose."""

CHOICES = {
    "teacher": ("peers", "ensemble", "ensemble_logits", "kdcl_naive", "kdcl_minlogit", "none"),
    "mimicry": ("kl", "dkd", "dist"),
    "schedule": ("simultaneous", "sequential"),
    "precision": ("fp32", "tf32", "bf16"),
    "capture": ("auto", "on", "off"),
    "exchange": ("object_store", "collective", "in_process"),
    "aggregate": ("auto", "gather", "sum"),
    "wire": ("fp32", "fp16"),
    "on_failure": ("restart", "drop", "stop"),
    "optimizer": ("sgd", "momentum", "adam", "adamw"),
    "lr_schedule": ("step", "thirds", "linear", "cosine", "constant"),
    "decay_on": ("all", "weights"),
    "crop": ("shift", "resized", "none"),
    "padding": ("reflect", "zeros"),
    "feed": ("memory", "node"),
    "distance": ("euclidean", "cosine"),
}

POSITIVE = [
    "decoders",
    "train_subset",
    "test_subset",
    "validation",
    "cutout",
    "epochs",
    "steps",
    "batch_size",
    "lr",
    "clip_grad_norm",
    "threads",
    "checkpoint_every",
    "keep",
    "eval_every",
    "log_every",
    "hang_after",
    "k",
    "per_process",
    "temperature",
]
NOT_NEGATIVE = [
    "weight_decay",
    "warmup_epochs",
    "seed",
    "data_seed",
    "gpus",
    "mimicry_weight",
    "mimicry_beta",
    "max_failures",
]
SHARES = ["label_smoothing", "color_jitter", "erasing"]
REALS = (
    "hang_after",
    "lr",
    "clip_grad_norm",
    "temperature",
    "weight_decay",
    "warmup_epochs",
    "mimicry_weight",
    "mimicry_beta",
    "color_jitter",
    "erasing",
)


def write(tmp_path, text):
    file = tmp_path / "run.yaml"
    file.write_text(text)
    return file


def numbers_for(key, integers, floats):
    return floats if key in REALS else integers


def test_no_flag_appears_or_goes_by_accident():
    assert {flag(f.name): f.default for f in dataclasses.fields(CohortConfig)} == FLAGS


def test_every_field_has_help():
    helps = field_helps(CohortConfig)
    for field in dataclasses.fields(CohortConfig):
        assert len(helps.get(field.name, "")) > 10, field.name


@pytest.mark.parametrize("key", CHOICES)
def test_choices_are_those_of_the_contract(key):
    hint = typing.get_type_hints(CohortConfig)[key]
    options = [typing.get_args(part) or (part,) for part in typing.get_args(hint)]
    flat = {value for part in options for value in part} - {type(None)}
    assert flat == set(CHOICES[key])


@pytest.mark.parametrize("key", sorted(CHOICES))
def test_another_choice_is_refused_with_the_allowed_ones(key):
    with pytest.raises(ConfigError) as caught:
        parse(CohortConfig, "", [flag(key), "other"])
    assert str(caught.value).startswith(f"{flag(key)} is 'other'")
    assert all(repr(choice) in str(caught.value) for choice in CHOICES[key])


@given(st.data())
def test_positive_keys_refuse_zero_and_below(data):
    key = data.draw(st.sampled_from(POSITIVE))
    bad = data.draw(
        numbers_for(
            key,
            st.integers(max_value=0),
            st.floats(max_value=0) | st.sampled_from([math.inf, math.nan]),
        )
    )
    with pytest.raises(
        ConfigError, match=rf"^{flag(key)} is .*; it must be greater than 0(, and finite)?$"
    ):
        CohortConfig(**{key: bad})


@pytest.mark.parametrize("key", POSITIVE + NOT_NEGATIVE)
def test_a_number_that_64_bits_do_not_hold_is_refused_and_not_written_out(key):
    number = 10**399
    with pytest.raises(ConfigError) as caught:
        CohortConfig(**{key: number})
    assert str(caught.value) == (
        f"{flag(key)} is a number of 400 digits; it must be at most 9223372036854775807"
    )


@pytest.mark.parametrize("key", ["data_root", "run_dir", "students", "address"])
def test_an_empty_text_is_no_default(key):
    with pytest.raises(ConfigError, match=rf"^{flag(key)} is ''; it must not be empty$"):
        CohortConfig(**{key: ""})


def test_more_students_than_can_be_counted_are_refused():
    with pytest.raises(ConfigError, match=r"^--k is 1000000000000; it must be 1000000 or less$"):
        CohortConfig(k=10**12)


@given(st.data())
def test_not_negative_keys_refuse_what_is_below_zero(data):
    key = data.draw(st.sampled_from(NOT_NEGATIVE))
    bad = data.draw(
        numbers_for(
            key,
            st.integers(max_value=-1),
            st.floats(max_value=0, exclude_max=True) | st.sampled_from([math.inf, math.nan]),
        )
    )
    with pytest.raises(
        ConfigError, match=rf"^{flag(key)} is .*; it must be 0 or greater(, and finite)?$"
    ):
        CohortConfig(**{key: bad})


@pytest.mark.parametrize("key", SHARES)
@pytest.mark.parametrize("bad", [-0.1, 1.0, math.inf, math.nan])
def test_shares_refuse_one_and_above_and_below_zero(key, bad):
    said = f"^{flag(key)} is {bad}; it must be 0 or greater, and less than 1$"
    with pytest.raises(ConfigError, match=said):
        CohortConfig(**{key: bad})
    assert getattr(CohortConfig(**{key: 0.99}), key) == 0.99


@given(st.data())
def test_what_is_above_is_taken(data):
    key = data.draw(st.sampled_from(POSITIVE + NOT_NEGATIVE))
    low = 0 if key in NOT_NEGATIVE else 1
    good = data.draw(
        numbers_for(key, st.integers(low, 10**6), st.floats(low, 1e6, exclude_min=low > 0))
    )
    others = {"teacher": "none"} if key == "k" and good == 1 else {}
    others |= {"mimicry": "dkd"} if key == "mimicry_beta" else {}
    assert getattr(CohortConfig(**{key: good}, **others), key) == good


def test_every_number_is_checked():
    """A new numeric field must be put under one of the checks."""
    hints = typing.get_type_hints(CohortConfig)
    numeric = {
        name
        for name, hint in hints.items()
        if {int, float} & set(typing.get_args(hint) or (hint,)) and name in vars(CohortConfig())
    }
    assert numeric == set(POSITIVE) | set(NOT_NEGATIVE) | set(SHARES) | {"image_size"}


@pytest.mark.parametrize("size", [0, -8, "", "x", "0x8", "8x", "x8", "8x8x8", "8 x 8", "1e2", 8.5])
def test_sizes_that_are_none(size):
    with pytest.raises(ConfigError, match=r"^--image-size is .*; it must be N or HEIGHTxWIDTH"):
        CohortConfig(image_size=size)


@pytest.mark.parametrize(
    ("given", "kept"), [(64, 64), ("64", 64), ("128x64", "128x64"), ("64X64", 64), (None, None)]
)
def test_sizes_are_kept_in_one_way(given, kept):
    assert CohortConfig(image_size=given).image_size == kept


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 1}, ("--k is 1", "--teacher peers")),
        ({"k": 3, "students": "resnet8,resnet8"}, ("--students names 2", "--k = 3")),
        ({"k": 2, "students": ("resnet8",) * 3}, ("--students names 3", "--k = 2")),
        ({"gpus": 2, "exchange": "in_process"}, ("--gpus is 2", "--exchange in_process")),
        ({"capture": "on", "gpus": 0}, ("--capture is on with --gpus 0",)),
        ({"address": "auto", "exchange": "in_process"}, ("--address is 'auto'", "in_process")),
        ({"aggregate": "sum", "exchange": "in_process"}, ("--aggregate is sum", "is in_process")),
        ({"aggregate": "sum", "teacher": "none"}, ("--aggregate is sum", "--teacher is none")),
        ({"mimicry": "dkd", "teacher": "none"}, ("--mimicry is dkd", "--teacher none")),
        ({"standardise": True, "teacher": "none"}, ("--standardise is on", "--teacher none")),
        ({"mimicry": "dist", "aggregate": "sum"}, ("--mimicry is dist", "--aggregate sum")),
        ({"teacher": "kdcl_naive", "aggregate": "sum"}, ("--teacher is kdcl_naive", "gather")),
        ({"mimicry_beta": 1.0}, ("--mimicry-beta is 1.0", "--mimicry kl", "dkd or dist")),
        ({"wire": "fp16", "exchange": "in_process"}, ("--wire is fp16", "is in_process")),
        ({"wire": "fp16", "teacher": "none"}, ("--wire is fp16", "--teacher is none")),
    ],
)
def test_contradictions_are_refused(options, words):
    with pytest.raises(ConfigError) as caught:
        CohortConfig(**options)
    assert all(word in str(caught.value) for word in words)


def test_one_network_serves_all_students():
    assert CohortConfig(k=3, students="resnet20").networks == ("resnet20",) * 3
    assert CohortConfig(k=1, students=("resnet20",), teacher="none").networks == ("resnet20",)
    assert CohortConfig(k=2, students="resnet8, wrn_16_4").networks == ("resnet8", "wrn_16_4")
    assert CohortConfig(k=2, students=("resnet8", "wrn_16_4")).networks == ("resnet8", "wrn_16_4")
    assert CohortConfig(k=2, students=resolve).networks == (resolve, resolve)


@pytest.mark.parametrize(
    ("dataset", "recipe"),
    [("digits", DIGITS), ("cifar100", CIFAR), ("folder", GENERAL), (lambda: None, GENERAL)],
)
def test_resolve_fills_in_the_recipe(dataset, recipe):
    config = resolve(CohortConfig(dataset=dataset))
    for key in ("epochs", "batch_size", "lr", "weight_decay", "optimizer", "lr_schedule"):
        assert getattr(config, key) == getattr(recipe, key)
    assert config.warmup_epochs == 0.0
    assert config.networks == (recipe.network,) * 2
    assert resolve(config) == config


def test_resolve_keeps_what_was_given():
    given = {"epochs": 1, "weight_decay": 0.0, "optimizer": "adam", "students": "mobilenet"}
    config = resolve(CohortConfig(**given))
    assert {key: getattr(config, key) for key in given} == given
    assert config.lr == DIGITS.lr


def test_the_papers_recipe():
    assert dataclasses.astuple(CIFAR) == ("resnet32", 200, 64, 0.1, 5e-4, "sgd", "step", 0.0)
    assert CohortConfig(dataset="digits").networks == ("resnet8", "resnet8")


DATA = {
    "dataset": "folder",
    "data_root": "there",
    "download": True,
    "image_size": 9,
    "train_subset": 5,
    "test_subset": 6,
    "data_seed": 7,
    "validation": 8,
    "autoaugment": True,
    "cutout": 4,
    "crop": "none",
    "padding": "zeros",
    "color_jitter": 0.4,
    "erasing": 0.5,
    "feed": "node",
    "decoders": 3,
    "skip_broken": True,
    "distance": "cosine",
}


def test_the_benchmarks_hand_on_every_key_of_the_data():
    cohort = BenchConfig(**DATA).cohort("in_process", gpus=0)
    job = StepBenchConfig(**DATA).job("byot")
    for config in (cohort, job):
        assert {key: getattr(config, key) for key in data_keys(config)} == DATA


def test_the_recipe_of_the_ods_authors():
    expected = ("resnet32", 300, 64, 0.05, 5e-4, "momentum", "linear", 5.0)
    assert dataclasses.astuple(ods_recipe("cifar10")) == expected
    assert ods_recipe("cifar100") == ods_recipe("cifar10")
    digits = ("resnet8", 20, 64, 0.05, 5e-4, "momentum", "linear", pytest.approx(1 / 3))
    assert dataclasses.astuple(ods_recipe("digits")) == digits
    assert [ods_recipe(data).epochs for data in ("synthetic", "folder", lambda: None)] == [
        10,
        100,
        100,
    ]


@pytest.mark.parametrize(
    ("given", "warmup"),
    [
        ({}, 5.0),
        ({"epochs": 60}, 1.0),
        ({"epochs": 6}, 0.1),
        ({"epochs": 60, "warmup_epochs": 5.0}, 5.0),
        ({"warmup_epochs": 0.0}, 0.0),
    ],
)
def test_a_warm_up_that_was_not_given_is_scaled_with_the_epochs(given, warmup):
    filled = fill_in(CohortConfig(dataset="cifar10", **given), ods_recipe("cifar10"))
    assert filled.warmup_epochs == pytest.approx(warmup)
    assert filled.epochs == given.get("epochs", 300)
    assert fill_in(filled, ods_recipe("cifar10")) == filled


ANOTHER = {
    "epochs": 9,
    "steps": 9,
    "keep": 9,
    "on_failure": "drop",
    "max_failures": 9,
    "address": "auto",
    "gpus": 1,
    "per_process": 1,
    "threads": 9,
    "exchange": "collective",
    "data_root": "elsewhere",
    "feed": "memory",
    "decoders": 9,
    "log_to": "mlflow",
    "tensorboard": True,
    "baseline": True,
    "capture": "off",
    "compile": True,
    "hang_after": 9.0,
    "trust_code": True,
}


@pytest.mark.parametrize("key", CohortConfig.EXTENDABLE)
def test_a_resumed_run_may_differ_in(key):
    assert getattr(extend(CohortConfig(), {key: ANOTHER[key]}, "runs/x"), key) == ANOTHER[key]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("k", 3),
        ("seed", 1),
        ("teacher", "none"),
        ("schedule", "sequential"),
        ("batch_size", 8),
        ("lr", 0.5),
        ("students", "resnet20"),
        ("dataset", "synthetic"),
        ("run_dir", "elsewhere"),
        ("temperature", 2.0),
        ("mimicry", "dkd"),
        ("standardise", True),
        ("aggregate", "sum"),
        ("wire", "fp16"),
        ("checkpoint_every", 3),
        ("precision", "bf16"),
        ("label_smoothing", 0.1),
        ("clip_grad_norm", 1.0),
        ("optimizer", "adamw"),
        ("train_subset", 10),
        ("autoaugment", True),
        ("cutout", 4),
        ("warmup_epochs", 1.0),
        ("data_seed", 3),
        ("validation", 20),
        ("pretrained", "weights.pt"),
        ("balance", True),
    ],
)
def test_a_resumed_run_may_not_differ_in(key, value):
    with pytest.raises(ConfigError) as caught:
        extend(CohortConfig(), {key: value}, "runs/x")
    assert str(caught.value).startswith(f"{flag(key)} is {value}, but the run in runs/x has ")


def test_extending_by_what_the_run_has_changes_nothing():
    config = CohortConfig(k=3, seed=4)
    assert extend(config, {"k": 3, "seed": 4}, "runs/x") == config


def test_extending_is_checked_as_a_whole():
    config = CohortConfig(exchange="in_process")
    with pytest.raises(ConfigError, match="--gpus is 4"):
        extend(config, {"gpus": 4}, "runs/x")


@pytest.mark.parametrize(
    "config",
    [
        CohortConfig(),
        resolve(CohortConfig()),
        CohortConfig(k=2, students=("resnet8", "pkg.mod:net"), lr=1e-5, weight_decay=0.0),
        CohortConfig(students="resnet8,resnet20", baseline=True, gpus=0, address="auto"),
    ],
)
def test_yaml_round_trip(config, tmp_path):
    file = write(tmp_path, to_yaml(config))
    assert load_config(file, CohortConfig, {"trust_code": True}) == config


@given(
    st.builds(
        CohortConfig,
        k=st.integers(2, 50),
        lr=st.floats(0, exclude_min=True, allow_infinity=False),
        data_root=st.text(st.characters(blacklist_categories=("Cs",)), min_size=1),
        teacher=st.sampled_from(CHOICES["teacher"]),
        steps=st.none() | st.integers(1, LARGEST),
        download=st.booleans(),
    )
)
def test_yaml_round_trip_of_any(tmp_path_factory, config):
    file = write(tmp_path_factory.mktemp("yaml"), to_yaml(config))
    assert load_config(file, CohortConfig) == config


def test_own_functions_are_written_by_name(tmp_path):
    config = CohortConfig(dataset=resolve, students=(extend, "resnet8"))
    file = write(tmp_path, to_yaml(config))
    again = load_config(file, CohortConfig, {"trust_code": True})
    assert again.dataset == "cohort.runtime.config:resolve"
    assert again.students == ("cohort.run.start:extend", "resnet8")
    assert "students: <lambda>\n" in to_yaml(CohortConfig(students=lambda num_classes: None))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch: 3", ("unknown key 'epoch'", "did you mean 'epochs'?")),
        ("students_per_core: 3", ("unknown key 'students_per_core'",)),
        ("zzz: 3", ("unknown key 'zzz'", "the keys are", "teacher")),
        ("k: two", ("key 'k' is 'two'", "integer")),
        ("lr: [1]", ("key 'lr' is [1]", "number")),
        ("teacher: peer", ("key 'teacher' is 'peer'", "'ensemble_logits'")),
        ("students: 3", ("key 'students' is 3",)),
        ("students: [resnet8, 3]", ("key 'students' is",)),
        ("lr: -1", ("--lr is -1", "greater than 0")),
        ("k: 1", ("--k is 1", "--teacher")),
        ("- k", ("must hold keys and values, not a list",)),
        ("k: [", ("is not YAML",)),
        ("k: 2020-99-99", ("is not YAML", "month must be in 1..12")),
        ("k: " + "[" * 3000, ("is not YAML",)),
        ("k: &a [*a]", ("is not YAML", "Circular reference")),
        ("1: 2", ("1",)),
        ("lr: 1\nk: 3\nlr: 2", ("key 'lr' stands in line 1 and in line 3",)),
        ("lr: 1\nk: {a: 3, b: 4, a: 5}", ("key 'a' stands in line 2 and in line 2",)),
    ],
)
def test_a_bad_file_is_refused_by_name_and_key(text, words, tmp_path):
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(file, CohortConfig)
    message = str(caught.value)
    assert message.startswith(str(file)), message
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_a_key_that_overrides_a_merged_one_stands_once(tmp_path):
    file = write(tmp_path, "a: &a {lr: 1}\nb: &b {<<: *a, lr: 2}\nc: {<<: *b, lr: 3}")
    assert read_config(file) == {"a": {"lr": 1}, "b": {"lr": 2}, "c": {"lr": 3}}


def test_a_file_is_utf_8_whatever_the_locale_says(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_bytes("data_root: Bilder/größer".encode())
    program = (
        f"from cohort.config_file import read_config; print(ascii(read_config({str(file)!r})))"
    )
    found = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", program],
        env=os.environ | {"LC_ALL": "C"},
        capture_output=True,
        check=True,
    )
    assert found.stdout.strip() == rb"{'data_root': 'Bilder/gr\xf6\xdfer'}"


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"--config .*none\.yaml cannot be read: No such file"):
        read_config(tmp_path / "none.yaml")


def test_a_file_from_before_there_were_keys_is_taken(tmp_path):
    newer = ("data_seed", "validation", "label_smoothing", "clip_grad_norm")
    lines = to_yaml(resolve(CohortConfig())).splitlines()
    older = [line for line in lines if not line.startswith(newer)]
    assert len(lines) - len(older) == 4
    file = write(tmp_path, "\n".join(older))
    assert load_config(file, CohortConfig) == resolve(CohortConfig())


def test_an_empty_file_is_the_defaults(tmp_path):
    assert load_config(write(tmp_path, ""), CohortConfig) == CohortConfig()


def test_yaml_reads_numbers_as_people_write_them(tmp_path):
    assert load_config(write(tmp_path, "lr: 1e-3"), CohortConfig).lr == 0.001  # a string to YAML
