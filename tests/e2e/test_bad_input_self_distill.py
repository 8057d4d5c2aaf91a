"""What a user of `self_distill.py` can get wrong: exit code 2, one line, and nothing written."""

import functools
import shutil

import pytest

from cohort import CohortConfig, SelfDistillConfig, self_distill, train_cohort
from cohort.errors import RunError
from tests.support.command import SELF_DISTILL
from tests.support.refusal import check_says, refuses  # noqa: F401

SMALL = {"train_subset": 64, "test_subset": 10, "batch_size": 32, "epochs": 2, "threads": 1}
FLAGS = [str(word) for k, v in SMALL.items() for word in (f"--{k.replace('_', '-')}", v)]
LONG = "L" * 300
"""No name of a file."""
SILENT = "tests.support.exits:Silent"
RUNS = {
    "byot": {"checkpoint_every": 1},
    "plain": {"method": "none"},
    "silent": {"method": "none", "model": SILENT},
    "synthetic": {"method": "none", "dataset": "synthetic", "image_size": 8, "model": "resnet8"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of finished runs: those above, and a cohort."""
    folder = tmp_path_factory.mktemp("runs")
    for name, options in RUNS.items():
        self_distill(SelfDistillConfig(**SMALL, **options, workers=0, run_dir=str(folder / name)))
    train_cohort(CohortConfig(**SMALL, exchange="in_process", run_dir=str(folder / "cohort")))
    return folder


@pytest.fixture
def here(runs, tmp_path):
    """Copies of them, which a test may spoil, in the directory where the script runs."""
    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def refused(refuses):  # noqa: F811
    """Expect a refusal of a small job in this process; returns the line."""
    return functools.partial(refuses, SELF_DISTILL, "--workers", 0, *FLAGS)


@pytest.fixture
def resuming_refused(refuses):  # noqa: F811
    return functools.partial(refuses, SELF_DISTILL, "--resume")


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


# The network and its exits


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model", "resnet19"], ["--model is 'resnet19'", "did you mean", "package.module"]),
        (["--model", "vgg16_bn"], ["--model is 'vgg16_bn'", "8x8", "at least 32x32"]),
        (["--model", "resnet8+exits"], ["--model is 'resnet8+exits'", "--method", "--exits"]),
        (["--model", "resnet8+exits", "--method", "none"], ["--model is 'resnet8+exits'"]),
        (["--model", SILENT], [f"--model is '{SILENT}',", "by --exits", "body.0, body.1"]),
        (["--exits", "stages.9"], ["--exits", "no module 'stages.9'", "did you mean 'stages.2"]),
        (["--exits", "stages.1,stages.0"], ["--exits", "write stages.0/stages.1"]),
        (["--exits", "stages.0,stages.0"], ["--exits", "stages.0 is named twice"]),
        (["--exits", ""], ["--exits is ''; it must not be empty"]),
        (["--exits", "stages.0,"], ["--exits", "no module ''", "its modules are"]),
        (["--exits", "classifier"], ["--exits", "[2, 10]", "must give a map"]),
        (["--exits", "stages.0.0.conv1"], ["--exits", "stages.0.0.conv1", "cannot trace"]),
        (
            ["--model", "tests.support.exits:Twice", "--exits", "same"],
            ["--exits", "same is called 2 times", "called once"],
        ),
        (
            ["--model", "tests.support.exits:Around", "--exits", "body.0"],
            ["--exits", "after body.0", "also reads what came before"],
        ),
        (
            ["--model", "tests.support.exits:Softmax", "--exits", "body.0"],
            ["--exits", "nn.Linear"],
        ),
    ],
)  # fmt: skip
def test_networks(refused, flags, words):
    check_says(refused(*flags), *words)


# Numbers, and flags that mean nothing together


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--alpha", "1.5"], ["--alpha is 1.5", "from 0 to 1"]),
        (["--alpha", "much"], ["--alpha is 'much'"]),
        (["--temperature", "nan"], ["--temperature is nan", "greater than 0"]),
        (["--cutout", 9], ["--cutout is 9", "at most 8"]),
        (["--dataset", "folder", "--data-root", LONG], ["LLL", "cannot be used: File name too"]),
        (["--run-dir", LONG], ["--run-dir LLL", "File name too long"]),
        (["--method", "kd", "--teacher", LONG], ["LLL", "File name too long"]),
        (["--evaluate"], ["--evaluate", "--help"]),
        (["--workers", 2, "--batch-size", 33], ["--batch-size is 33", "--workers 2", "multiple"]),
        (["--workers", 2, "--test-subset", 1], ["--workers is 2", "1 images", "fewer"]),
        (["--gpus", 3], ["--gpus is 3 with --workers 0", "--workers 3"]),
        (["--precision", "tf32", "--gpus", 0], ["--precision is tf32", "on CPU"]),
        (["--threads", 1_000_000], ["--threads is 1000000", "or fewer"]),
        (["--batch-size", 65], ["--batch-size is 65", "64"]),
    ],
)  # fmt: skip
def test_values(refused, flags, words):
    check_says(refused(*flags), *words)


def test_one_image_of_one_pixel_has_no_variance(tmp_path):
    """On images of 8 x 8 the last maps of a ResNet-18 are one pixel."""
    config = {**SMALL, "batch_size": 1, "workers": 0, "run_dir": str(tmp_path / "run")}
    with pytest.raises(RunError) as caught:
        self_distill(SelfDistillConfig(**config, model="resnet18_w16"))
    check_says(str(caught.value), "--batch-size", "one image", "single pixel", "make it greater")


def test_one_image_of_several_pixels_has_one(tmp_path):
    config = SelfDistillConfig(**{**SMALL, "batch_size": 1}, steps=2, workers=0, model="resnet8")
    result = self_distill(SelfDistillConfig(**{**vars(config), "run_dir": str(tmp_path / "run")}))
    assert result.summary["status"] == "finished"


# Teachers


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        ("nowhere", ["--teacher nowhere is not the folder of a run", "RUN_DIR/students/K"]),
        (".", ["--teacher . is not the folder of a run"]),
        ("byot/config.yaml", ["--teacher byot/config.yaml is not the folder of a run"]),
        ("cohort", ["--teacher cohort has 2 students", "cohort/students/0, cohort/students/1"]),
        ("cohort/students/5", ["cohort/students/5/model.json is missing"]),
        ("synthetic", ["--teacher synthetic", "classes of synthetic", "--dataset digits"]),
    ],
)
def test_a_teacher_that_does_not_fit(refused, here, teacher, words):
    check_says(refused("--method", "kd", "--teacher", teacher), *words)


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("summary.json", '"finished"', '"interrupted"', ["--teacher byot", "is interrupted"]),
        ("summary.json", '"finished"', '"failed"', ["--teacher byot", "is failed", "--resume"]),
        ("summary.json", "{", "", ["byot/summary.json does not describe how a run ended"]),
        ("students/0/model.json", "resnet8", "resnet19", ["model.json is 'resnet19'"]),
        ("students/0/model.json", "resnet8", "resnet20", ["model.safetensors cannot be loaded"]),
        ("students/0/model.json", "resnet8", "<lambda>", ["--teacher byot", "<lambda>", "import"]),
        ("students/0/model.json", "8,\n    8", "9,\n    9", ["--teacher byot", "(1, 9, 9)"]),
        ("students/0/model.json", '"mean"', '"meen"', ["model.json does not describe a student"]),
    ],
)
def test_a_teacher_whose_files_say_something_else(refused, here, file, old, new, words):
    edit(here / "byot" / file, old, new)
    check_says(refused("--method", "kd", "--teacher", "byot"), *words)


def test_a_teacher_with_damaged_or_missing_files(refused, here):
    weights = here / "byot/students/0/model.safetensors"
    teacher = ("--method", "kd", "--teacher", "byot")
    weights.write_bytes(weights.read_bytes()[:-4])
    check_says(refused(*teacher), "byot/students/0/model.safetensors cannot be loaded")
    weights.unlink()
    check_says(refused(*teacher), "model.safetensors cannot be read: No such file")
    shutil.rmtree(here / "byot/students")
    check_says(refused(*teacher), "--teacher byot holds no trained student")
    (here / "byot/summary.json").unlink()
    check_says(refused(*teacher), "byot has no summary.json", "has not ended")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            ["--method", "at", "--teacher", "byot", "--exits", "stages.0"],
            ["--method at", "stages.0 and the teacher's after stages.0, stages.1", "name 2"],
        ),
        (["--method", "fitnet", "--teacher", "byot", "--exits", "stages.0"], ["name 2"]),
        (
            ["--method", "at", "--teacher", "plain", "--exits", "stages.7,stages.1"],
            ["--exits", "in resnet8", "'stages.7'"],
        ),
        (
            ["--method", "at", "--teacher", "plain", "--model", SILENT],
            [f"--model is '{SILENT}'", "name places by --exits", "body.0"],
        ),
        (
            ["--method", "fitnet", "--teacher", "silent", "--trust-code"],
            ["--teacher silent has a network", "--method kd"],
        ),
    ],
)
def test_places_that_do_not_pair_up(refused, here, flags, words):
    check_says(refused(*flags), *words)


# Runs to go on with


def test_a_run_of_the_other_script(refuses, resuming_refused, refused, here):  # noqa: F811
    launch = functools.partial(refuses, "launch_cohort.py")
    check_says(resuming_refused("cohort"), "cohort/config.yaml", "scripts/launch_cohort.py")
    check_says(refused("--config", "cohort/config.yaml"), "scripts/launch_cohort.py")
    check_says(launch("--resume", "byot"), "byot/config.yaml", "scripts/self_distill.py")
    check_says(launch("--config", "byot/config.yaml"), "scripts/self_distill.py")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--exits", "stages.0"], ["--exits is stages.0, but the run in byot"]),
        (["--teacher", "plain"], ["--teacher is 'plain' with --method byot"]),
        (["--steps", 1], ["--resume byot", "4 steps are done", "allow 1"]),
    ],
)
def test_resuming_with_flags_that_contradict(resuming_refused, here, flags, words):
    check_says(resuming_refused("byot", *flags), *words)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "model: resnet8",
            "model: resnet20",
            ["byot/config.yaml has model: 'resnet20'", "'resnet8'"],
        ),
        ("exits: null", "exits: stages.0", ["byot/config.yaml has exits: 'stages.0'", "None"]),
        ("method: byot", "method: dsn", ["byot/config.yaml", "--alpha is 0.3"]),
        ("workers: 0", "worker: 0", ["byot/config.yaml", "unknown key 'worker'", "'workers'"]),
    ],
)
def test_resuming_after_the_config_was_edited(resuming_refused, here, old, new, words):
    edit(here / "byot/config.yaml", old, new)
    check_says(resuming_refused("byot", "--epochs", 3), *words)


def test_resuming_what_is_no_run(resuming_refused, here):
    check_says(resuming_refused("nowhere"), "nowhere is not the folder of a run")
    check_says(resuming_refused(LONG), "LLL", "File name too long")
    for file in here.glob("byot/checkpoints/*/0/optimizer.pt"):
        file.write_bytes(b"")
    check_says(resuming_refused("byot"), "--resume byot", "no valid checkpoint", "--config")


# The scripts that read runs


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["byot", "--latency", -1], ["--latency is -1", "0 or greater"]),
        (["byot", "--latency", "often"], ["--latency", "'often'"]),
        (["byot", "--ensemble-weights", "1,2"], ["--ensemble-weights is 1,2", "3 numbers"]),
        (["byot", "--ensemble-weights", "a,b,c"], ["--ensemble-weights is 'a,b,c'", "commas"]),
        (["byot", "--ensemble-weights", ""], ["--ensemble-weights is ''", "empty"]),
        (["byot", "--ensemble-weights=-1,1,1"], ["--ensemble-weights is -1,1,1", "0 or greater"]),
        (["byot", "--ensemble-weights", "0,0,0"], ["is 0,0,0", "not all 0"]),
        (["plain", "--ensemble-weights", "1"], ["--ensemble-weights", "plain", "exits"]),
        (["byot", "--output", "table.xlsx"], ["--output is table.xlsx", ".csv, .json, .md or .tex"]),
        (["byot", "--output", "no/table.csv"], ["--output is no/table.csv", "folder that is there"]),
        (["byot", "--output", "plain/metrics.csv/x.csv"], ["--output is", "folder that is there"]),
        (["byot", "./byot"], ["RUN_DIR ./byot is given twice"]),
        (["byot", "plain", "--ranking", "a.png"], ["--ranking is a.png", "one RUN_DIR"]),
        (["byot/students/0"], ["byot/students/0 is not the folder of a run"]),
    ],
)  # fmt: skip
def test_evaluate(refuses, here, flags, words):  # noqa: F811
    check_says(refuses("evaluate.py", *flags), *words)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["byot", "--output", "byot"], ["--output byot already holds something"]),
        (["byot", "--output", LONG], ["LLL", "cannot be used: File name too"]),
        (["byot", "--output", "byot/config.yaml/x"], ["--output byot/config.yaml/x cannot"]),
        (["plain", "--exit", 1, "--output", "out"], ["--exit is 1", "no exits", "leave it out"]),
        (["byot", "--exit", 0, "--output", "out"], ["--exit is 0", "exits 1 to 3"]),
        (["byot", "--student", -1, "--output", "out"], ["--student is -1", "students 0"]),
        (["byot"], ["--output"]),
    ],
)
def test_export(refuses, here, flags, words):  # noqa: F811
    check_says(refuses("export.py", *flags, "--format", "safetensors"), *words)
