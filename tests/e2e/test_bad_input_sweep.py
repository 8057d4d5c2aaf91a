"""What a user of `sweep.py` can get wrong: exit code 2, one line, and nothing written."""

import functools

import pytest
import yaml

from cohort.tuning.folder import StudyFolder
from cohort.tuning.locks import only_session
from tests.support.refusal import check_says, refuses  # noqa: F401

SWEEP = "sweep.py"
STUDY = {
    "command": "launch_cohort",
    "base": {"dataset": "digits", "train_subset": 100, "test_subset": 40, "epochs": 1},
    "space": {"k": {"grid": [1, 2]}, "teacher": {"grid": ["none"]}},
    "seeds": [0, 1],
    "metric": "test_accuracy",
    "mode": "max",
}


@pytest.fixture
def file(tmp_path):
    return written(tmp_path)


@pytest.fixture
def refused(refuses):  # noqa: F811
    """Expect a refusal of the study in the test's directory; returns the line."""
    return functools.partial(refuses, SWEEP, "mine.yaml")


def written(directory, **changes):
    path = directory / "mine.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **changes}, sort_keys=False))
    return path


def with_base(**keys):
    return {"base": {**STUDY["base"], **keys}}


def with_axes(**axes):
    return {"space": {**STUDY["space"], **axes}}


def begun(tmp_path, name="studies/mine"):
    """The folder of a study that has started."""
    return StudyFolder.create(tmp_path / name, (tmp_path / "mine.yaml").read_text())


# The file


def test_no_file(refused, refuses, tmp_path):  # noqa: F811
    check_says(refused(), "mine.yaml", "No such file")
    check_says(refuses(SWEEP, "."), "error: .", "directory")
    check_says(refuses(SWEEP), "STUDY", "--help")
    (tmp_path / "mine.yaml").write_text("base: [")
    check_says(refused(), "mine.yaml is not YAML")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sede": [0]}, ["unknown key 'sede'", "did you mean 'seeds'?"]),
        (with_base(epoch=1), ["unknown key 'base.epoch'", "did you mean 'epochs'?"]),
        (with_axes(epoch={"grid": [1]}), ["unknown key 'space.epoch'", "did you mean 'epochs'?"]),
        (with_axes(lr={"gird": [1]}), ["'space.lr.gird'", "did you mean 'grid'?"]),
        (with_base(seed=3), ["base.seed", "seeds come from the study's key 'seeds'"]),
        (with_base(epochs="many"), ["base.epochs is 'many'"]),
        (with_base(lr=-1.0), ["point k=1, teacher=none", "lr", "is -1.0", "greater than 0"]),
        (with_axes(k={"grid": [1, 0]}), ["point k=0, teacher=none", "is 0", "greater than 0"]),
        (
            with_axes(teacher={"grid": ["none", "peers"]}),
            ["point k=1, teacher=peers", "alone has no peers"],
        ),
        (
            with_base(teacher="run:wide") | {"space": {}, "command": "self_distill"},
            ["base.teacher is 'run:wide'", "no runs"],
        ),
        ({"metric": "test_acuracy"}, ["metric is 'test_acuracy'"]),
        ({"seeds": [1, 1]}, ["seeds is [1, 1]", "different"]),
        ({"without": [{"k": 7}]}, ["without.0.k is 7", "1, 2"]),
    ],
)
def test_the_file_says_something_else(refused, tmp_path, changes, words):
    written(tmp_path, **changes)
    check_says(refused(), "mine.yaml", *words)


def test_the_small_size_is_checked_as_well(refused, tmp_path):
    written(tmp_path, smoke={"base": {"epochs": 0}})
    check_says(refused("--smoke"), "mine.yaml", "point k=1, teacher=none", "epochs", "is 0")


# The folder


def test_a_folder_that_holds_something(refused, file, tmp_path):
    begun(tmp_path)
    check_says(refused(), "--study-dir", "studies/mine already holds a study", "--resume")
    check_says(refused("--study-dir", "studies"), "--study-dir", "already holds something")
    check_says(refused("--study-dir", "s3://bucket/mine"), "--study-dir", "on a storage", "a path")
    check_says(refused("--study-dir", "mine.yaml"), "mine.yaml already holds something")


def test_going_on_with_no_study(refused, file, tmp_path):
    check_says(refused("--resume"), "studies/mine is not the folder of a study", "without --resume")
    (tmp_path / "studies").mkdir()
    line = refused("--resume", "--study-dir", "studies")
    check_says(line, "studies is not the folder of a study", "study.yaml")


def test_another_process_works_on_the_study(refused, file, tmp_path):
    folder = begun(tmp_path)
    with only_session(folder.path):
        line = refused("--resume")
    check_says(line, "--study-dir", "studies/mine", "another process works on this study")


# The cluster, the data and the networks


def test_more_students_than_the_cluster_has_places(refused, ray_of_four, tmp_path):
    written(tmp_path, **with_axes(k={"grid": [1, 50]}))
    check_says(refused(), "trial k-50.teacher-none.seed-0", "50", "8 a core", "at most 32")
    written(tmp_path, **with_axes(k={"grid": [1, 3]}), resources={"cpus": 2})
    line = refused()
    check_says(
        line, "trial k-3", "k is 3", "2 cores each", "4 cores place", "at most 2 of its students"
    )
    written(tmp_path, **with_base(exchange="in_process"), resources={"cpus": 5})
    check_says(refused(), "trial k-1", "takes 5 cores", "this node has 4 cores")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (with_axes(students={"grid": ["resnet8", "resnet9"]}), ["'resnet9'", "did you mean"]),
        (with_axes(students={"grid": ["resnet8", "vgg16_bn"]}), ["'vgg16_bn'", "8x8"]),
        (with_base(train_subset=99999), ["train_subset is 99999", "at most"]),
    ],
)
def test_what_a_command_would_refuse(refused, ray_of_four, tmp_path, changes, words):
    written(tmp_path, **changes)
    check_says(refused().replace("--train-subset", "train_subset"), *words)


def test_data_that_are_not_there(refused, ray_of_four, tmp_path):
    written(tmp_path, base={"dataset": "cifar100", "epochs": 1})
    line = refused("--data-root", "nowhere")
    check_says(line, "trial k-1.teacher-none.seed-0", "nowhere", "--download")
