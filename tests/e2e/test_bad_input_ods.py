"""What a user of `ods_distill.py` can get wrong: exit code 2, one line, and nothing written."""

import functools
import shutil

import pytest

from cohort import OdsConfig, SelfDistillConfig, ods_distill, self_distill
from tests.support.command import ODS_DISTILL
from tests.support.refusal import check_says, refuses  # noqa: F401
from tests.support.teacher_runs import SMALL, deep_ensemble

FLAGS = ["--batch-size", 32, "--epochs", 2, "--threads", 1]
SCALED = "tests.support.networks:scaled"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of finished runs: ensembles, one of self-distillation, and one of this script."""
    folder = tmp_path_factory.mktemp("runs")
    deep_ensemble(folder / "ensemble", validation=40)
    deep_ensemble(folder / "plain", k=2)
    deep_ensemble(folder / "synthetic", k=2, dataset="synthetic", image_size=8)
    deep_ensemble(folder / "scaled", k=2, students=SCALED)
    deep_ensemble(folder / "wide", k=2, students="resnet8,wrn_10_1")
    shared = {"workers": 0, "run_dir": str(folder / "byot")}
    self_distill(SelfDistillConfig(**SMALL, **shared, model="resnet8", exits="stages.0"))
    shared = {"workers": 0, "threads": 1, "run_dir": str(folder / "ods")}
    teachers = str(folder / "ensemble")
    ods_distill(OdsConfig(**shared, teachers=teachers, choose="2,0", epochs=2, batch_size=32))
    return folder


@pytest.fixture
def here(runs, tmp_path):
    """Copies of them, which a test may spoil, in the directory where the script runs."""
    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def refused(refuses, here):  # noqa: F811
    """Expect a refusal of a small job in this process; returns the line."""
    return functools.partial(refuses, ODS_DISTILL, "--workers", 0, *FLAGS)


@pytest.fixture
def resuming_refused(refuses, here):  # noqa: F811
    return functools.partial(refuses, ODS_DISTILL, "--resume")


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


# Numbers, and flags that mean nothing together


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--eta", "far"], ["--eta is 'far'"]),
        (["--perturbation", "fgsm"], ["--perturbation is 'fgsm'", "'ods'", "'gaussian'"]),
        (["--method", "kd"], ["--method is 'kd'", "'one_to_one'", "'labels'"]),
        (["--student", "batch"], ["--student is 'batch'", "'be'", "'single'"]),
        (["--ods-norm", "l1"], ["--ods-norm is 'l1'", "'rms'", "'l2'"]),
        (["--init", "zero"], ["--init is 'zero'", "'normal'", "'sign'"]),
        (["--members", "some"], ["--members is 'some'"]),
        (["--members", 1], ["--members is 1", "from 2 to 9999", "--student single"]),
        (["--members", 4], ["--members is 4", "3 students", "--members 3", "--method mean"]),
        (["--choose", "first"], ["--choose is 'first'", "commas", "0,2,3"]),
        (["--method", "labels", "--perturbation", "ods"], ["--perturbation is ods", "labels"]),
        (["--teacher-pool", 4, "--workers", 1], ["--teacher-pool is 4", "3 teachers", "at most 3"]),
        (["--exits", "stages.0"], ["--exits", "--help"]),
        (["--workers", 2, "--batch-size", 33], ["--batch-size is 33", "--workers 2", "multiple"]),
        (["--batch-size", 97], ["--batch-size is 97", "96"]),
        (["--warmup-epochs", 2], ["--warmup-epochs is 2", "less than --epochs"]),
        (["--train-subset", 5000], ["--train-subset is 5000", "at most", "of --validation"]),
        (["--image-size", 16], ["--image-size is 16", "fixed size"]),
        (["--run-dir", "ensemble"], ["--run-dir", "ensemble"]),
    ],
)  # fmt: skip
def test_values(refused, flags, words):
    check_says(refused("--teachers", "ensemble", *flags), *words)


# The network


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model", "resnet9"], ["--model is 'resnet9'", "did you mean"]),
        (["--model", "vgg16_bn"], ["--model is 'vgg16_bn'", "8x8", "at least 32x32"]),
        (["--model", "resnet8+members=3"], ["--model is 'resnet8+members=3'", "--members N"]),
        (
            ["--model", SCALED],
            ["--model cannot be a batch ensemble", "'scale'", "Scale with param"],
        ),
        (
            ["--model", "tests.support.networks:OwnProduct"],
            ["--model cannot be a batch ensemble", "a member's answer depends", "self.conv(x)"],
        ),
        (
            ["--model", "tests.support.networks:PlacesFirst", "--choose", "0,1"],
            ["--model cannot be a batch ensemble", "a member's answer depends", "first dimension"],
        ),
        (["--model", "tests.support.networks:nothing"], ["tests.support.networks:nothing"]),
    ],
)
def test_networks(refused, flags, words):
    check_says(refused("--teachers", "ensemble", *flags), *words)


def test_the_teachers_network_may_be_none_for_a_batch_ensemble(refused):
    line = refused("--teachers", "scaled", "--trust-code")
    check_says(line, "--model cannot be a batch ensemble", "'scale'", "a Scale")


def test_networks_that_differ(refused):
    line = refused("--teachers", "wide")
    check_says(line, "--model is missing", "several networks", "resnet8, wrn_10_1")
    line = refused("--teachers", "wide", "--model", "resnet8", "--stacked-teachers")
    check_says(line, "--stacked-teachers needs teachers of one architecture", "teacher 1")


# Teachers


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], ["--teachers is missing", "launch_cohort.py --teacher none"]),
        (["--teachers", "nowhere"], ["--teachers nowhere is not the folder of a run"]),
        (["--teachers", "."], ["--teachers . is not the folder of a run"]),
        (["--teachers", "plain/students/0"], ["plain/students/0 is not the folder of a run"]),
        (["--teachers", "plain/config.yaml"], ["plain/config.yaml is not the folder of a run"]),
        (["--teachers", "byot"], ["--teachers byot has one student that teaches", "single"]),
        (["--teachers", "ods"], ["--teachers ods has one student that teaches"]),
        (
            ["--teachers", "synthetic", "--dataset", "digits"],
            ["--teachers synthetic", "classes of synthetic", "--dataset digits"],
        ),
        (
            ["--teachers", "ensemble", "--dataset", "synthetic", "--image-size", 8],
            ["--teachers ensemble", "classes of digits", "--dataset synthetic"],
        ),
        (
            ["--teachers", "synthetic", "--image-size", 16],
            ["--teachers synthetic takes images of shape (", "8, 8)", "16, 16)", "same size"],
        ),
        (
            ["--teachers", "plain", "--validation", 10],
            ["--validation is 10", "held out nothing", "leave it out"],
        ),
    ],
)
def test_teachers_that_do_not_fit(refused, flags, words):
    check_says(refused(*flags), *words)


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("summary.json", '"finished"', '"interrupted"', ["ensemble", "interrupted", "--resume"]),
        ("summary.json", '"finished"', '"failed"', ["--teachers ensemble", "is failed"]),
        ("summary.json", "{", "", ["ensemble/summary.json does not describe how a run ended"]),
        ("config.yaml", "validation: 40", "validation: many", ["config.yaml", "'validation'"]),
        ("config.yaml", "dataset: digits", "dataset: [", ["ensemble/config.yaml is not YAML"]),
        ("students/1/model.json", "resnet8", "resnet7", ["students/1/model.json", "'resnet7'"]),
        ("students/1/model.json", '"mean"', '"meen"', ["1/model.json does not describe a student"]),
        ("students/1/model.json", "8,\n    8", "9,\n    9", ["--teachers ensemble", "(1, 9, 9)"]),
        ("students/1/model.json", '"9"', '"nine"', ["--teachers ensemble", "10 classes of digits"]),
        ("students/1/model.json", "resnet8", "<lambda>", ["ensemble", "<lambda>", "importable"]),
    ],
)
def test_teachers_whose_files_say_something_else(refused, here, file, old, new, words):
    edit(here / "ensemble" / file, old, new)
    check_says(refused("--teachers", "ensemble", "--model", "resnet8"), *words)


def test_teachers_with_damaged_or_missing_files(refused, here):
    weights = here / "ensemble/students/1/model.safetensors"
    teachers = ("--teachers", "ensemble")
    weights.write_bytes(weights.read_bytes()[:-4])
    check_says(refused(*teachers), "ensemble/students/1/model.safetensors cannot be loaded")
    weights.unlink()
    check_says(refused(*teachers), "model.safetensors cannot be read: No such file")
    shutil.rmtree(here / "ensemble/students")
    check_says(refused(*teachers), "--teachers ensemble holds no trained student")
    (here / "ensemble/summary.json").unlink()
    check_says(refused(*teachers), "ensemble", "summary.json", "has not ended")


# Files of other commands, and runs to go on with


def test_a_config_of_another_command(refuses, refused, resuming_refused):  # noqa: F811
    launch = "scripts/launch_cohort.py"
    check_says(refused("--config", "ensemble/config.yaml"), launch, "'k'")
    check_says(resuming_refused("ensemble"), "ensemble/config.yaml", launch)
    check_says(refused("--config", "byot/config.yaml"), "scripts/self_distill.py", "'exits'")
    check_says(resuming_refused("byot"), "byot/config.yaml", "scripts/self_distill.py")
    for script in ("launch_cohort.py", "self_distill.py"):
        for flag in ("--config", "--resume"):
            file = "ods/config.yaml" if flag == "--config" else "ods"
            check_says(refuses(script, flag, file), "scripts/ods_distill.py", "'teachers'")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--tau", 2], ["--tau is 2.0, but the run in ods has 4.0", "--teachers", "may change"]),
        (["--choose", "0,1"], ["--choose is 0,1, but the run in ods has"]),
        (["--teachers", "nowhere"], ["--teachers nowhere is not the folder of a run"]),
        (["--teachers", "plain"], ["--choose is 2,0", "different ones of 0,1"]),
        (["--steps", 1], ["--resume ods", "6 steps are done", "allow 1"]),
        (["--teacher-pool", 2], ["--teacher-pool is 2 with --workers 0"]),
    ],
)
def test_resuming_with_flags_that_contradict(resuming_refused, flags, words):
    check_says(resuming_refused("ods", *flags), *words)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "model: resnet8",
            "model: wrn_10_1",
            ["ods/config.yaml has model: 'wrn_10_1'", "'resnet8'"],
        ),
        ("workers: 0", "worker: 0", ["ods/config.yaml", "unknown key 'worker'", "'workers'"]),
    ],
)
def test_resuming_after_the_config_was_edited(resuming_refused, here, old, new, words):
    edit(here / "ods/config.yaml", old, new)
    check_says(resuming_refused("ods", "--epochs", 3), *words)


def test_resuming_what_is_no_run(resuming_refused, here):
    check_says(resuming_refused("nowhere"), "nowhere is not the folder of a run")
    for file in here.glob("ods/checkpoints/*/0/optimizer.pt"):
        file.write_bytes(b"")
    check_says(resuming_refused("ods"), "--resume ods", "no valid checkpoint", "--config")
