"""The configuration of ODS distillation: its flags, what it takes over, and what it refuses."""

import dataclasses

import pytest

from cohort.cli.parser import field_helps, parse
from cohort.config import flag
from cohort.config_file import load_config, to_yaml
from cohort.errors import ConfigError
from cohort.jobs.config import JobConfig
from cohort.jobs.ods.config import LOSS_TERMS, OdsConfig
from cohort.jobs.ods.resolve import resolve, teacher_folders
from cohort.run.start import extend
from tests.support.teacher_runs import described

FLAGS = {
    "--teachers": None,
    "--choose": None,
    "--student": "be",
    "--model": None,
    "--members": None,
    "--init": "normal",
    "--method": None,
    "--perturbation": None,
    "--eta": None,
    "--ods-norm": None,
    "--alpha": None,
    "--tau": None,
    "--teacher-pool": None,
    "--stacked-teachers": False,
}
"""What ods_distill.py has beside the flags of every job. A new one is added here on purpose."""
DATA = {
    "train_subset": 70,
    "test_subset": 30,
    "validation": 20,
    "data_seed": 5,
    "data_root": "elsewhere",
}
FILLED = ("student", "method", "members", *LOSS_TERMS)


@pytest.fixture
def three(tmp_path):
    """Three teachers of one network."""
    return described(tmp_path / "three", **DATA, seed=9)


def resolved(teachers, **options):
    return resolve(OdsConfig(teachers=teachers, **options))


def own_fields():
    shared = {field.name for field in dataclasses.fields(JobConfig)}
    return [f for f in dataclasses.fields(OdsConfig) if f.name not in shared]


# The flags


def test_no_flag_appears_or_goes_by_accident():
    assert {flag(field.name): field.default for field in own_fields()} == FLAGS


def test_every_field_has_help():
    helps = field_helps(OdsConfig)
    for field in own_fields():
        assert len(helps[field.name]) > 10, field.name


def test_the_command_line_s_flags_are_the_config_s():
    flags = "--teachers t --choose 2,0 --perturbation ods --eta 2 --ods-norm l2 --tau 3 --alpha 0.5"
    config = parse(OdsConfig, "", [*flags.split(), "--stacked-teachers"]).config
    assert config == OdsConfig(
        teachers="t", choose="2,0", perturbation="ods", eta=2.0, ods_norm="l2", tau=3.0, alpha=0.5,
        stacked_teachers=True,
    )  # fmt: skip
    assert config.chosen == (2, 0)


# What is filled in


@pytest.mark.parametrize(
    ("options", "filled"),
    [
        ({}, ("be", "one_to_one", 3, "conf_ods", 1, "rms", 0.9, 4)),
        ({"perturbation": "ods", "eta": 2.0}, ("be", "one_to_one", 3, "ods", 2, "rms", 0.9, 4)),
        ({"perturbation": "gaussian"}, ("be", "one_to_one", 3, "gaussian", 1, None, 0.9, 4)),
        ({"perturbation": "none"}, ("be", "one_to_one", 3, "none", None, None, 0.9, 4)),
        ({"method": "mean", "members": 5}, ("be", "mean", 5, "conf_ods", 1, "rms", 0.9, 4)),
        ({"method": "labels"}, ("be", "labels", 3, None, None, None, None, None)),
        ({"student": "single"}, ("single", "mean", None, "conf_ods", 1, "rms", 0.9, 4)),
        (
            {"student": "single", "method": "labels"},
            ("single", "labels", None, None, None, None, None, None),
        ),
        ({"choose": "2,1"}, ("be", "one_to_one", 2, "conf_ods", 1, "rms", 0.9, 4)),
        # A number that is given stays, be it 0.
        ({"alpha": 0.0, "eta": 0.0}, ("be", "one_to_one", 3, "conf_ods", 0, "rms", 0, 4)),
    ],
)
def test_what_is_left_out_is_filled_in(three, options, filled):
    config = resolved(three, **options)
    assert tuple(getattr(config, key) for key in FILLED) == filled
    assert config.model == "resnet8"


@pytest.mark.parametrize(("dataset", "tau"), [("cifar100", 1.0), ("cifar10", 4.0), ("folder", 4.0)])
def test_the_temperature_is_the_paper_s(tmp_path, dataset, tau):
    teachers = described(tmp_path / "run", dataset=dataset)
    assert resolved(teachers).tau == tau
    assert resolved(teachers, tau=2.0).tau == 2.0


def test_the_recipe_is_the_authors_on_cifar(tmp_path):
    config = resolved(described(tmp_path / "run", dataset="cifar100"))
    assert (config.epochs, config.batch_size, config.lr) == (300, 64, 0.05)
    assert (config.optimizer, config.lr_schedule, config.warmup_epochs) == ("momentum", "linear", 5)


def test_the_data_are_the_teachers(three):
    config = resolved(three)
    assert config.dataset == "digits"
    assert {key: getattr(config, key) for key in DATA} == DATA
    assert config.seed == 0  # the student's own


def test_what_is_said_of_the_data_comes_first(three):
    given = {"train_subset": 60, "test_subset": 10, "data_seed": 7, "data_root": "here"}
    config = resolved(three, **given, validation=20)
    assert {key: getattr(config, key) for key in given} == given
    assert config.validation == 20


@pytest.mark.parametrize(("said", "data_seed"), [({"seed": 9}, 9), ({}, 0), ({"data_seed": 0}, 0)])
def test_the_subsets_are_those_that_the_teachers_seed_picked(tmp_path, said, data_seed):
    """Whatever the student's own seed."""
    teachers = described(tmp_path / "run", **said)
    assert resolved(teachers, seed=4).data_seed == data_seed


def test_the_size_of_the_images_too(tmp_path):
    teachers = described(tmp_path / "run", dataset="synthetic", image_size=16)
    assert resolved(teachers).image_size == 16
    assert resolved(teachers, image_size=8).image_size == 8


def test_a_data_set_that_is_named_takes_nothing_over(three):
    config = resolved(three, dataset="digits", validation=20)
    assert (config.train_subset, config.test_subset, config.data_seed) == (None, None, None)
    assert config.data_root == "data"


def test_the_model_is_the_teachers(tmp_path):
    mixed = described(tmp_path / "mixed", ("resnet8", "resnet8", "resnet20"))
    with pytest.raises(ConfigError, match=r"--model is missing.*resnet20, resnet8; name"):
        resolved(mixed)
    assert resolved(mixed, choose="1,0").model == "resnet8"
    assert resolved(mixed, model="wrn_10_1").model == "wrn_10_1"
    with_exits = described(tmp_path / "exits", ("resnet8+exits=stages.0",) * 2)
    assert resolved(with_exits).model == "resnet8"


def test_teachers_are_chosen_in_any_order(tmp_path):
    teachers = described(tmp_path / "run", ("resnet8",) * 12)

    def numbers(choose):
        return [int(f.name) for f in teacher_folders(OdsConfig(teachers=teachers, choose=choose))]

    assert numbers(None) == list(range(12))  # 10 after 9, not after 1
    assert numbers("11, 2,0") == [11, 2, 0]
    assert numbers((3, 1)) == [3, 1]
    assert numbers(7) == [7]


def test_one_number_in_a_file_is_one_teacher(three, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(f"{{teachers: {three}, choose: 2, student: single}}")
    config = load_config(file, OdsConfig)
    assert [folder.name for folder in teacher_folders(config)] == ["2"]
    assert resolve(config).choose == (2,)
    flags = ["--teachers", three, "--choose", "2"]
    assert parse(OdsConfig, "", flags).config.chosen == (2,)


# Written down


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"choose": "2,0"},
        {"choose": "1", "student": "single"},
        {"method": "labels", "init": "sign"},
        {"perturbation": "none", "workers": 2, "teacher_pool": 2, "stacked_teachers": True},
    ],
)
def test_the_yaml_repeats_the_run(three, tmp_path, options):
    config = resolved(three, **options)
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(config))
    assert load_config(file, OdsConfig) == config
    assert resolve(load_config(file, OdsConfig)) == config


def test_what_may_change_on_resuming(three):
    config = resolved(three)
    given = {"teachers": "moved", "teacher_pool": 2, "workers": 2, "epochs": 99}
    changed = extend(config, given, "runs/x")
    assert {key: getattr(changed, key) for key in given} == given
    for key, value in {"method": "mean", "tau": 1.0, "perturbation": "ods", "members": 2}.items():
        with pytest.raises(ConfigError, match=rf"{flag(key)} is .*, but the run in runs/x has"):
            extend(config, {key: value}, "runs/x")


# What is refused


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"eta": -1.0}, ["--eta is -1.0", "0 or greater"]),
        ({"eta": float("inf")}, ["--eta is inf"]),
        ({"tau": 0.0}, ["--tau is 0.0", "greater than 0"]),
        ({"tau": float("nan")}, ["--tau is nan"]),
        ({"alpha": 1.5}, ["--alpha is 1.5", "from 0 to 1"]),
        ({"alpha": -0.1}, ["--alpha is -0.1", "from 0 to 1"]),
        ({"alpha": float("nan")}, ["--alpha is nan"]),
        ({"teacher_pool": 0}, ["--teacher-pool is 0", "greater than 0"]),
        ({"choose": "0;1"}, ["--choose is '0;1'", "commas", "0,2,3"]),
        ({"choose": ""}, ["--choose is ''", "commas"]),
        ({"choose": "0,"}, ["--choose is '0,'"]),
        ({"choose": ()}, ["--choose", "0,2,3"]),
        ({"model": "resnet8+members=3"}, ["--model is 'resnet8+members=3'", "--members N"]),
        ({"model": "resnet8+exits"}, ["--model is 'resnet8+exits'", "network's name alone"]),
        ({"members": 1}, ["--members is 1", "from 2 to 9999", "--student single"]),
        ({"members": 0}, ["--members is 0", "from 2"]),
        ({"members": 10000, "method": "mean"}, ["--members is 10000", "from 2 to 9999"]),
        ({"student": "single", "members": 3}, ["--members is 3", "--student single", "leave"]),
        ({"student": "single", "init": "sign"}, ["--init is sign", "--student single"]),
        ({"student": "single", "method": "one_to_one"}, ["--method is one_to_one", "mean"]),
        ({"perturbation": "none", "eta": 1.0}, ["--eta is 1.0", "--perturbation none"]),
        (
            {"perturbation": "gaussian", "ods_norm": "l2"},
            ["--ods-norm is l2", "--perturbation gaussian", "no direction"],
        ),
        ({"perturbation": "none", "ods_norm": "l2"}, ["--ods-norm is l2", "--perturbation none"]),
        ({"teacher_pool": 2, "workers": 0}, ["--teacher-pool is 2", "--workers 0", "cluster"]),
        ({"teacher_pool": 2, "method": "labels"}, ["--teacher-pool is 2", "--method labels"]),
        ({"workers": 2, "gpus": 1}, ["--gpus is 1", "--workers 2"]),
        *(
            ({"method": "labels", key: value}, [f"{flag(key)} is {value}", "--method labels"])
            for key, value in {
                "perturbation": "ods", "eta": 1.0, "ods_norm": "rms", "alpha": 0.9, "tau": 4.0,
            }.items()
        ),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(options, words):
    with pytest.raises(ConfigError) as refusal:
        OdsConfig(teachers="t", **options)
    assert all(word in str(refusal.value) for word in words), refusal.value
    assert "\n" not in str(refusal.value)


def test_labels_may_say_that_nothing_is_perturbed():
    assert OdsConfig(method="labels", perturbation="none").perturbation == "none"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"members": 2}, ["--members is 2", "3 students of --teachers", "--choose 0,1"]),
        ({"choose": "2,1,0", "members": 2}, ["--members is 2", "such as --choose 2,1"]),
        ({"members": 4}, ["--members is 4", "3 students", "--members 3", "--method mean"]),
        ({"choose": "0,1", "members": 3}, ["--members is 3", "2 students", "--members 2"]),
        ({"choose": "0,3"}, ["--choose is 0,3", "different ones of 0,1,2", "--teachers"]),
        ({"choose": "1,1"}, ["--choose is 1,1", "different ones of 0,1,2"]),
        ({"choose": "-1"}, ["--choose is -1", "different ones of 0,1,2"]),
        ({"choose": "1"}, ["has one student that teaches", "--student single"]),
        ({"choose": "1", "members": 4}, ["has one student that teaches", "--method mean"]),
        ({"choose": "1", "method": "labels"}, ["has one student that teaches", "--members"]),
        ({"validation": 19}, ["--validation is 19", "held out 20", "use --validation 20"]),
        ({"dataset": "digits"}, ["--validation is missing", "use --validation 20"]),
    ],
)
def test_what_does_not_fit_the_teachers_is_refused(three, options, words):
    with pytest.raises(ConfigError) as refusal:
        resolved(three, **options)
    assert all(word in str(refusal.value) for word in words), refusal.value


def test_a_validation_split_that_the_teachers_learned_is_refused(tmp_path):
    teachers = described(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"--validation is 10, .* held out nothing,.*leave it"):
        resolved(teachers, validation=10)


def test_several_students_may_learn_from_one(tmp_path):
    alone = described(tmp_path / "run", ("resnet8",))
    assert resolved(alone, method="mean", members=4).members == 4
    assert resolved(alone, student="single").method == "mean"


def test_no_teachers_no_distillation(tmp_path):
    with pytest.raises(ConfigError, match=r"--teachers is missing.*cohort train --teacher none"):
        resolve(OdsConfig())
    with pytest.raises(ConfigError, match=r"--teachers \S+ is not the folder of a run"):
        resolved(str(tmp_path))
    for status in ("interrupted", "failed"):
        teachers = described(tmp_path / status, status=status)
        with pytest.raises(ConfigError, match=rf"is a run that is {status}, not finished; --res"):
            resolved(teachers)
    with pytest.raises(ConfigError, match="holds no trained student"):
        resolved(described(tmp_path / "empty", ()))
