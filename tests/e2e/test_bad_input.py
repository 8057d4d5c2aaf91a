"""Everything a user can get wrong: exit code 2, one line that says what, and nothing written."""

import functools
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import ray
import torch
from torchvision import datasets

from cohort import CohortConfig, train_cohort
from tests.support.command import LAUNCH, ROOT
from tests.support.refusal import check_says, refuses  # noqa: F401

SCRIPT = ROOT / "scripts" / LAUNCH
IN_PROCESS = ("--exchange", "in_process")
STUDY = """
command: launch_cohort
base: {dataset: digits, train_subset: 100, test_subset: 40, epochs: 1}
space: {k: {grid: [2, 3]}}
seeds: [0]
metric: test_accuracy
mode: max
"""


@pytest.fixture
def refused(refuses):  # noqa: F811
    """Expect a refusal of a cohort in this process; returns the line."""
    return functools.partial(refuses, LAUNCH, *IN_PROCESS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of four steps."""
    run_dir = tmp_path_factory.mktemp("runs") / "done"
    config = CohortConfig(
        exchange="in_process", train_subset=64, test_subset=10, batch_size=32, epochs=2,
        run_dir=str(run_dir), checkpoint_every=2,
    )  # fmt: skip
    return train_cohort(config).run_dir


@pytest.fixture
def run_dir(finished, tmp_path):
    """A copy of it that a test may spoil."""
    return shutil.copytree(finished, tmp_path / "done")


# Names


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--dataset", "digit"], ["--dataset is 'digit'", "did you mean 'digits'?"]),
        (["--dataset", "mnist"], ["--dataset is 'mnist'", "cifar100"]),
        (["--students", "resnet9"], ["--students is 'resnet9'", "did you mean", "package.module"]),
        (["--students", "wrn_9_1"], ["--students is 'wrn_9_1'"]),
        (["--students", "resnet8,nothing"], ["--students is 'nothing'"]),
        (
            ["--students", "shufflenet_v2_x0_5"],
            ["--students is 'shufflenet", "3 channels", "have 1"],
        ),
        (["--students", "vgg16_bn"], ["--students is 'vgg16_bn'", "8x8", "at least 32x32"]),
        (["--student", "resnet8"], ["--student", "--help"]),
        (["--k"], ["--k", "expected one argument"]),
        (["--optimizer", "lamb"], ["--optimizer is 'lamb'", "'sgd'", "'adam'"]),
        (["--image-size", 16], ["--image-size is 16", "digits"]),
        (["--download"], ["--download", "digits"]),
    ],
)
def test_unknown(refused, flags, words):
    check_says(refused(*flags), *words)


# Numbers


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--k", 0, "--k is 0; it must be greater than 0"),
        ("--checkpoint-every", -3, "--checkpoint-every is -3; it must be greater than 0"),
        ("--lr", "nan", "--lr is nan; it must be greater than 0"),
        ("--weight-decay", -1, "--weight-decay is -1.0; it must be 0 or greater"),
    ],
)
def test_a_number_out_of_bounds(refused, flag, value, words):
    """Every key is tried by ``tests/unit/test_config.py``."""
    check_says(refused(flag, value), words)


@pytest.mark.parametrize(
    ("flag", "value"), [("--k", "two"), ("--k", "2.5"), ("--lr", "fast"), ("--seed", "")]
)
def test_not_a_number(refused, flag, value):
    check_says(refused(flag, value), f"{flag} is {value!r}")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--batch-size", 2000], ["--batch-size is 2000", "1437"]),
        (["--batch-size", 33, "--train-subset", 32], ["--batch-size is 33", "32"]),
        (["--train-subset", 2000], ["--train-subset is 2000", "1437"]),
        (["--test-subset", 361], ["--test-subset is 361", "360"]),
        (["--k", 1, "--teacher", "ensemble"], ["--k is 1", "--teacher ensemble"]),
        (["--epochs", 1, "--steps", 500], ["--steps is 500", "22 steps", "raise --epochs"]),
        (["--teacher", "none", "--schedule", "sequential"], ["--schedule is sequential", "none"]),
        (["--address", "auto"], ["--address is 'auto'", "--exchange in_process"]),
        (["--per-process", 1], ["--per-process is 1", "--exchange in_process"]),
        (["--threads", 1_000_000], ["--threads is 1000000", "or fewer"]),
    ],
)
def test_numbers_that_contradict(refused, flags, words):
    check_says(refused(*flags), *words)


def test_trackers_that_are_not_installed_or_not_known(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    check_says(refused("--tensorboard"), "tensorboard", "pip install 'cohort[tensorboard]'")
    check_says(refused("--log-to", "mlflow"), "--log-to mlflow", "pip install 'cohort[mlflow]'")
    check_says(refused("--log-to", "mlflow,neptune"), "--log-to has 'neptune'", "mlflow, wandb")


def test_what_the_machine_cannot_capture_or_compile(refused, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    check_says(refused("--capture", "on"), "--capture is on", "use --capture auto")
    monkeypatch.setenv("CXX", "no-such-compiler")
    check_says(refused("--compile"), "--compile needs a C++ compiler (no-such-compiler)")


def test_more_gpus_than_the_machine_has(refused, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    check_says(refused("--gpus", 1), "--gpus is 1", "has 0")


def test_tf32_without_a_gpu(refused):
    line = refused("--precision", "tf32", "--gpus", 0)
    check_says(line, "--precision is tf32", "on CPU", "use fp32 or bf16")


# Data


def test_cifar100_that_is_not_there(refused):
    line = refused("--dataset", "cifar100", "--data-root", "nowhere")
    check_says(line, "--data-root nowhere", "cifar100", "--download", "cifar-100-python.tar.gz")


def test_cifar100_with_a_truncated_file(refused, tmp_path, monkeypatch):
    """A tiny set in the official format, its digests put in the place of the real ones."""
    folder, sums = tmp_path / "cifar-100-python", {}
    folder.mkdir()
    pixels = np.zeros((4, 3072), dtype=np.uint8)
    part = {"data": pixels, "fine_labels": [0, 1, 0, 1]}
    for name, value in {"train": part, "test": part, "meta": {"fine_label_names": "ab"}}.items():
        (folder / name).write_bytes(pickle.dumps(value))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    meta = {"filename": "meta", "key": "fine_label_names", "md5": sums["meta"]}
    monkeypatch.setattr(datasets.CIFAR100, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(datasets.CIFAR100, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(datasets.CIFAR100, "meta", meta)
    (folder / "train").write_bytes((folder / "train").read_bytes()[:1000])
    line = refused("--dataset", "cifar100", "--data-root", ".")
    check_says(line, "cifar-100-python/train is damaged", "--download")
    assert "cifar-100-python/test" not in line


def test_a_folder_of_pictures_that_is_not_there(refused):
    check_says(
        refused("--dataset", "folder", "--data-root", "nowhere"), "--data-root nowhere", "train/"
    )


# One's own code


@pytest.mark.parametrize(
    ("flag", "source", "name", "words"),
    [
        ("--students", None, "none_such:net", ["none_such", "No module named"]),
        ("--students", "", "own_a:net", ["own_a", "has no 'net'"]),
        ("--students", "def net(:", "own_b:net", ["own_b", "SyntaxError"]),
        ("--students", "raise OSError('a\\nb')", "own_c:net", ["own_c", "OSError"]),
        ("--students", "def net(num_classes): return 3", "own_d:net", ["own_d:net", "int"]),
        ("--students", "def net(): return 3", "own_e:net", ["own_e:net", "num_classes"]),
        ("--students", "net = 3", "own_f:net", ["own_f:net", "int"]),
        ("--students", "", "own_g:", ["own_g:", "package.module:function"]),
        (
            "--students",
            "import torch\ndef net(num_classes): return torch.nn.Linear(3, num_classes)",
            "own_h:net",
            ["own_h:net", "failed on images of shape (1, 8, 8)"],
        ),
        (
            "--students",
            "from torch import nn\n"
            "def net(num_classes): return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))",
            "own_i:net",
            ["own_i:net", "[2, 7]", "[2, 10]"],
        ),
        ("--dataset", None, "none_such:data", ["none_such", "No module named"]),
        ("--dataset", "def data(): return 3", "own_j:data", ["own_j:data", "int", "ImageDataset"]),
        (
            "--dataset",
            "def data(): raise OSError('a\\nb')",
            "own_k:data",
            ["own_k:data", "OSError"],
        ),
    ],
)
def test_own_code(refused, tmp_path, flag, source, name, words):
    if source is not None:
        (tmp_path / f"{name.partition(':')[0]}.py").write_text(source)
    check_says(refused(flag, name), flag, *words)


# Run folders


def test_a_run_dir_that_holds_something(refused, run_dir):
    line = refused("--run-dir", run_dir)
    check_says(line, f"--run-dir {run_dir}", "already holds", f"--resume {run_dir}")


def test_a_run_dir_that_is_a_file(refused, tmp_path):
    (tmp_path / "file").write_text("mine")
    check_says(refused("--run-dir", "file"), "--run-dir file")
    check_says(refused("--run-dir", "file/below"), "--run-dir file/below")


def test_resuming_no_run(refused, tmp_path):
    check_says(refused("--resume", "nowhere"), "nowhere is not the folder of a run", "config.yaml")
    (tmp_path / "file").write_text("mine")
    check_says(refused("--resume", "file"), "file is not the folder of a run")
    check_says(refused("--resume", ""), "--resume is ''; it must not be empty")
    check_says(refused("--config", ""), "--config is ''; it must not be empty")


def test_resuming_without_a_valid_checkpoint(refused, run_dir):
    for weights in run_dir.glob("checkpoints/*/0/model.safetensors"):
        weights.write_bytes(weights.read_bytes()[:-1])
    line = refused("--resume", run_dir)
    check_says(line, f"--resume {run_dir}", "no valid checkpoint", "checkpoints", "--config")


@pytest.mark.parametrize(
    ("flag", "value", "before"),
    [
        ("--lr", "0.5", "0.05"),
        ("--students", "resnet20", "resnet8"),
        ("--run-dir", "elsewhere", "None"),
    ],
)
def test_resuming_with_a_contradicting_flag(refused, run_dir, flag, value, before):
    line = refused("--resume", run_dir, flag, value)
    check_says(line, f"{flag} is {value}, but the run in {run_dir} has {before}", "may change")


@pytest.mark.parametrize(("flag", "value"), [("--steps", 2), ("--epochs", 1)])
def test_resuming_to_less_than_is_done(refused, run_dir, flag, value):
    check_says(
        refused("--resume", run_dir, flag, value), str(run_dir), "4 steps are done", "allow 2"
    )


def test_resuming_a_run_whose_config_was_edited_badly(refused, run_dir):
    (run_dir / "config.yaml").write_text("k: two\n")
    check_says(refused("--resume", run_dir), str(run_dir / "config.yaml"), "'k' is 'two'")


def test_resuming_with_another_network_in_the_config(refused, run_dir):
    text = (run_dir / "config.yaml").read_text()
    (run_dir / "config.yaml").write_text(text.replace("resnet8", "resnet20"))
    line = refused("--resume", run_dir, "--epochs", 3)
    check_says(line, f"{run_dir}/config.yaml has students: 'resnet20'", "with 'resnet8'; put that")


def test_config_and_resume(refused, run_dir):
    check_says(
        refused("--resume", run_dir, "--config", run_dir / "config.yaml"), "--config", "--resume"
    )


# Config files


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("exits: null", ["scripts/self_distill.py", "'exits'", "use that"]),
        ("epoch: 3", ["unknown key 'epoch'", "did you mean 'epochs'?"]),
        ("teacher: [peers]", ["key 'teacher' is ['peers']"]),
    ],
)
def test_a_bad_config_file(refused, tmp_path, text, words):
    (tmp_path / "run.yaml").write_text(text)
    check_says(refused("--config", "run.yaml"), "run.yaml", *words)


@pytest.mark.parametrize("name", ["none.yaml", "."])
def test_a_config_file_that_cannot_be_read(refused, name):
    check_says(refused("--config", name), f"--config {name} cannot be read")


# The cluster


@pytest.mark.parametrize(
    ("script", "arguments"), [(LAUNCH, ["--students", "resnet8"]), ("sweep.py", ["mine.yaml"])]
)
@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:1", "no Ray cluster answers there"),
        ("elsewhere", "it must be auto or host:port"),
    ],
)
def test_nobody_answers(refuses, tmp_path, script, arguments, address, words):  # noqa: F811
    assert not ray.is_initialized(), "one that runs in this process would be taken"
    (tmp_path / "mine.yaml").write_text(STUDY)
    line = refuses(script, *arguments, "--address", address)
    check_says(line, f"--address is {address!r}", words)


# The process itself


def test_as_a_process(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *IN_PROCESS, "--k", "0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    check_says(done.stderr, "--k is 0")
    assert list(tmp_path.iterdir()) == []


def test_the_run_that_the_others_spoil_is_a_good_one(finished):
    """Else the refusals above might have another cause."""
    summary = json.loads((finished / "summary.json").read_text())
    assert (summary["status"], summary["steps"]) == ("finished", 4)
