"""The configuration of a job: its flags, what a method means, and what it refuses."""

import dataclasses

import pytest

from cohort.cli.parser import field_helps, parse
from cohort.config import RunConfig, flag
from cohort.config_file import load_config, to_yaml
from cohort.errors import ConfigError
from cohort.jobs.self_distill.config import CONSTANTS, SelfDistillConfig, resolve
from cohort.models.spec import WithExits
from cohort.run.start import extend

FLAGS = {
    "--workers": 1,
    "--gpus": None,
    "--batch-norm": "synchronised",
    "--max-failures": 3,
    "--address": None,
    "--model": None,
    "--exits": None,
    "--method": "byot",
    "--teacher": None,
    "--alpha": None,
    "--hint-weight": None,
    "--hint-distance": None,
    "--temperature": None,
    "--mimicry": "kl",
    "--mimicry-beta": None,
    "--standardise": False,
}
"""What self_distill.py has beside the flags of every run. A new one is added here on purpose."""


def own_fields():
    shared = {field.name for field in dataclasses.fields(RunConfig)}
    return [f for f in dataclasses.fields(SelfDistillConfig) if f.name not in shared]


def test_no_flag_appears_or_goes_by_accident():
    assert {flag(field.name): field.default for field in own_fields()} == FLAGS


def test_every_field_has_help():
    helps = field_helps(SelfDistillConfig)
    for field in own_fields():
        assert len(helps[field.name]) > 10, field.name


@pytest.mark.parametrize(
    ("dataset", "model", "epochs", "batch_size", "lr_schedule", "optimizer"),
    [
        ("cifar100", "resnet18", 250, 128, "thirds", "momentum"),
        ("cifar10", "resnet18", 250, 128, "thirds", "momentum"),
        ("digits", "resnet8", 20, 64, "cosine", "sgd"),
        ("folder", "resnet18", 100, 64, "cosine", "sgd"),
    ],
)
def test_the_recipe_is_the_authors_on_cifar(
    dataset, model, epochs, batch_size, lr_schedule, optimizer
):
    """Their code has torch's SGD with momentum 0.9 and no Nesterov."""
    config = resolve(SelfDistillConfig(dataset=dataset))
    assert (config.model, config.epochs, config.batch_size) == (model, epochs, batch_size)
    assert (config.lr_schedule, config.optimizer) == (lr_schedule, optimizer)
    assert (config.lr, config.weight_decay) == (0.1 if lr_schedule == "thirds" else 0.05, 5e-4)


def test_what_is_given_stays():
    config = resolve(SelfDistillConfig(dataset="cifar100", model="vgg16_bn", epochs=3, alpha=0.5))
    assert (config.model, config.epochs, config.alpha) == ("vgg16_bn", 3, 0.5)
    assert (config.hint_weight, config.temperature) == (0.03, 3.0)
    assert config.hint_distance == "sum"


@pytest.mark.parametrize("method", CONSTANTS)
def test_each_method_has_its_constants_and_no_others(method):
    teacher = "runs/teacher" if method in ("kd", "fitnet", "at") else None
    config = resolve(SelfDistillConfig(method=method, teacher=teacher))
    for key in ("alpha", "hint_weight", "hint_distance", "temperature"):
        assert getattr(config, key) == CONSTANTS[method].get(key)


@pytest.mark.parametrize("exits", ["stages.0,stages.1", "stages.0, stages.1"])
def test_places_are_split_at_commas(exits):
    assert SelfDistillConfig(exits=exits).places == ("stages.0", "stages.1")
    assert SelfDistillConfig(exits=("a", "b")).places == ("a", "b")
    assert SelfDistillConfig().places is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha": 1.5}, ["--alpha is 1.5", "from 0 to 1"]),
        ({"alpha": -0.1}, ["--alpha is -0.1", "from 0 to 1"]),
        ({"alpha": float("nan")}, ["--alpha is nan"]),
        ({"hint_weight": -1.0}, ["--hint-weight is -1.0", "0 or greater"]),
        ({"temperature": 0.0}, ["--temperature is 0.0", "greater than 0"]),
        ({"workers": -1}, ["--workers is -1", "0 or greater"]),
        ({"method": "dsn", "alpha": 0.3}, ["--alpha is 0.3", "--method dsn", "leave it out"]),
        ({"method": "none", "temperature": 2.0}, ["--temperature is 2.0", "--method none"]),
        ({"method": "none", "exits": "a"}, ["--exits is 'a'", "--method none", "byot"]),
        ({"method": "kd"}, ["--method is kd", "--teacher RUN_DIR"]),
        (
            {"method": "kd", "teacher": "t", "hint_weight": 1.0},
            ["--hint-weight is 1.0", "--method kd"],
        ),
        (
            {"method": "at", "teacher": "t", "hint_distance": "sum"},
            ["--hint-distance is sum", "--method at", "leave it out"],
        ),
        ({"mimicry": "dkd"}, ["--mimicry is dkd", "--method byot", "use --method kd"]),
        ({"standardise": True}, ["--standardise is on", "--method byot"]),
        (
            {"method": "kd", "teacher": "t", "mimicry": "dist", "workers": 2},
            ["--mimicry is dist", "--workers 2", "use --workers 1"],
        ),
        (
            {"method": "kd", "teacher": "t", "mimicry_beta": 2.0},
            ["--mimicry-beta is 2.0", "--mimicry kl"],
        ),
        (
            {"method": "fitnet", "teacher": "t", "temperature": 2.0},
            ["--temperature is 2.0", "--method fitnet", "--alpha"],
        ),
        ({"method": "kd", "teacher": "t", "exits": "a"}, ["--exits is 'a'", "--method kd"]),
        ({"teacher": "t"}, ["--teacher is 't'", "--method byot", "kd, fitnet, at"]),
        ({"workers": 2, "gpus": 1}, ["--gpus is 1", "--workers 2", "use --gpus 2 or 0"]),
        ({"workers": 2, "capture": "on"}, ["--capture on", "--workers 2", "use --workers 1"]),
        ({"workers": 2, "compile": True}, ["--compile", "--workers 2", "use --workers 1"]),
        ({"model": "resnet8+exits"}, ["--model is 'resnet8+exits'", "--exits"]),
        ({"model": WithExits("resnet8", ("a",))}, ["--model is 'resnet8+exits=a'", "--exits"]),
        ({"workers": 0, "address": "auto"}, ["--address is 'auto'", "--workers 0"]),
    ],
)
def test_what_makes_no_sense_is_refused(options, words):
    with pytest.raises(ConfigError) as refusal:
        SelfDistillConfig(**options)
    for word in words:
        assert word in str(refusal.value)


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"--method is 'dml'.*'byot'"):
        parse(SelfDistillConfig, "", ["--method", "dml"])


def test_the_yaml_repeats_the_run(tmp_path):
    config = resolve(SelfDistillConfig(dataset="cifar100", exits="stages.0", workers=2, alpha=0.2))
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load_config(tmp_path / "config.yaml", SelfDistillConfig) == config


def test_resuming_may_change_the_workers_but_not_the_method():
    config = SelfDistillConfig()
    assert extend(config, {"workers": 2, "epochs": 9}, "runs/x").workers == 2
    with pytest.raises(ConfigError, match=r"--method is dsn, but the run in runs/x has byot"):
        extend(config, {"method": "dsn"}, "runs/x")
