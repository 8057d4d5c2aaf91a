"""What a run that starts a Ray of its own is refused before it does."""

import re

import pytest

from cohort import CohortConfig, ConfigError, SelfDistillConfig, self_distill, train_cohort
from cohort.data import registry
from cohort.runtime import own_ray, placement, private_ray, session
from cohort.tuning.file.load import load_study
from cohort.tuning.on_ray.run import run_study

SMALL = {"train_subset": 32, "test_subset": 16, "batch_size": 16}
STUDY = """
command: launch_cohort
base: {dataset: digits, train_subset: 32, test_subset: 16, batch_size: 16, epochs: 1}
space: {k: {grid: [2, 17]}}
seeds: [0]
metric: test_accuracy
mode: max
"""


@pytest.fixture(autouse=True)
def two_cores(monkeypatch, tmp_path):
    """A machine of two cores and no GPU, on which no Ray may be started."""
    monkeypatch.chdir(tmp_path)
    machine = placement.Node(cpus=2, gpus=0, memory=2**34)
    monkeypatch.setattr("cohort.runtime.assembly.this_machine", lambda: machine)
    monkeypatch.setattr("cohort.jobs.run.this_machine", lambda: machine)
    monkeypatch.setattr("cohort.tuning.on_ray.placing.this_machine", lambda: machine)

    def start():
        raise AssertionError("a Ray was to be started")

    monkeypatch.setattr(session, "_start_local", start)


def unread(*_):
    raise AssertionError("data were to be read")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gpus": 4}, "--gpus is 4, but the cluster has 0"),
        ({"k": 17}, "--k is 17, but the cluster's 2 cores place at most 16 students"),
        ({"threads": 3}, "--threads is 3, more than one for each of the 2 cores"),
        ({"decoders": 17}, "--decoders is 17, more than 8 for each"),
        ({"precision": "tf32"}, "--precision is tf32, which only a GPU has"),
        ({"capture": "on"}, "--capture is on, but students train on the CPU"),
        (
            {"k": 3, "per_process": 3, "aggregate": "sum"},
            "--aggregate is sum, but all students share",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_cohort_asks_for_what_the_machine_lacks(monkeypatch, tmp_path, options, words):
    monkeypatch.setattr(registry, "find_reader", unread)
    with pytest.raises(ConfigError, match=f"^{re.escape(words)}"):
        train_cohort(CohortConfig(**options))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": 3}, "--workers is 3, but the cluster's 2 cores place at most 2"),
        ({"gpus": 1}, "--workers is 1, but the cluster's 2 cores and 0 GPUs place at most 0"),
        ({"precision": "tf32"}, "--precision is tf32, which only a GPU has"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_job_asks_for_what_the_machine_lacks(monkeypatch, tmp_path, options, words):
    monkeypatch.setattr(registry, "find_reader", unread)
    with pytest.raises(ConfigError, match=f"^{re.escape(words)}"):
        self_distill(SelfDistillConfig(**options))
    assert list(tmp_path.iterdir()) == []


def test_networks_that_memory_does_not_hold(monkeypatch):
    machine = placement.Node(cpus=2, gpus=0, memory=placement.PROCESS_BYTES + 10**6)
    monkeypatch.setattr("cohort.runtime.assembly.this_machine", lambda: machine)
    with pytest.raises(ConfigError, match=r"^--k is 2, but the cluster's memory holds 0 students"):
        train_cohort(CohortConfig(**SMALL))
    monkeypatch.setattr("cohort.runtime.assembly.memory", lambda: 10**6)
    with pytest.raises(ConfigError, match=r"^--k is 2, but the students together take 0.0 GiB"):
        train_cohort(CohortConfig(**SMALL, exchange="in_process"))


@pytest.mark.parametrize("name", ["file/below", f"new/{'x' * 300}", "y/" * 2000])
def test_a_folder_that_cannot_be_made_leaves_none(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"(?s)^--run-dir .* cannot be (written|read): "):
        train_cohort(CohortConfig(**SMALL, run_dir=name))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_study_is_refused_before_its_ray(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    study = load_study("study.yaml")
    with pytest.raises(ConfigError, match=r"^trial k-17\.\S+ --k is 17, but the cluster's 2 cores"):
        run_study(study, study_dir="studied")
    with pytest.raises(ConfigError, match=r"^--study-dir \S+xxx cannot be written: File name too"):
        run_study(study, study_dir=f"new/{'x' * 300}")
    with pytest.raises(ConfigError, match=r"^--address is 'there'; it must be auto or host:port"):
        run_study(study, address="there")
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


@pytest.mark.parametrize("variable", private_ray.TEMPORARY)
def test_a_temporary_folder_too_deep_for_sockets_is_named(monkeypatch, variable):
    for name in private_ray.TEMPORARY:
        monkeypatch.delenv(name, raising=False)
    fitting = private_ray.LONGEST_SOCKET - len(private_ray.longest_socket("/")) - 1
    monkeypatch.setenv(variable, f"/{'x' * fitting}")
    own_ray.check_sockets()
    monkeypatch.setenv(variable, f"/{'x' * (fitting + 1)}")
    with pytest.raises(ConfigError, match=rf"^{variable} is '/x+'.* that is 1 shorter"):
        own_ray.check_sockets()


@pytest.mark.parametrize("address", ["auto", "10.0.0.1:6379", "[::1]:6379", "local"])
def test_addresses(address):
    assert CohortConfig(address=address).address == address


@pytest.mark.parametrize(
    "address", ["there", "there:", ":1", "there:0", "there:65536", "ray://a:1"]
)
def test_what_is_no_address(address):
    for config in (CohortConfig, SelfDistillConfig):
        with pytest.raises(
            ConfigError, match=f"^--address is '{address}'; it must be auto or host"
        ):
            config(address=address)
