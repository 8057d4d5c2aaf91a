"""Cohorts over several nodes: simulated by raylets on this machine."""

import json
import os
import shutil
import tempfile

import pytest
import ray
from ray.cluster_utils import Cluster

from cohort import CohortConfig, ConfigError, train_cohort
from tests.support.command import run

SMALL = {
    "train_subset": 128,
    "test_subset": 32,
    "batch_size": 16,
    "epochs": 2,
    "threads": 1,
    "students": "resnet8",
}


@pytest.fixture
def cluster(monkeypatch):
    folder = tempfile.mkdtemp(prefix="ray-")
    monkeypatch.setenv("RAY_TMPDIR", folder)  # where Cluster writes its address, beside no other
    os.mkdir(os.path.join(folder, "ray"))
    started = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 2,
            "num_gpus": 0,
            "temp_dir": folder,
            "include_dashboard": False,
        },
    )
    yield started
    ray.shutdown()
    started.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def hashes(summary):
    return [student["weights_sha256"] for student in summary["students"]]


@pytest.fixture(scope="module")
def on_one_node(tmp_path_factory):
    """Students of K = 4 that never left this process."""
    run_dir = tmp_path_factory.mktemp("oracle") / "run"
    config = CohortConfig(k=4, exchange="in_process", run_dir=str(run_dir), **SMALL)
    return hashes(train_cohort(config).summary)


@pytest.mark.parametrize("exchange", ["object_store", "collective"])
def test_four_students_on_two_nodes_equal_those_on_one(cluster, on_one_node, tmp_path, exchange):
    cluster.add_node(num_cpus=2, num_gpus=0)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    nodes = set()

    def look_where(record):
        if record["step"] == 8:
            nodes.update(students_by_node())

    config = CohortConfig(k=4, exchange=exchange, run_dir=str(tmp_path / "run"), **SMALL)
    result = train_cohort(config, on_step=look_where)
    assert len(nodes) == 2, "the students were not spread"
    assert hashes(result.summary) == on_one_node


def students_by_node():
    """Nodes on which CPUs are taken by students."""
    used = ray._private.state.available_resources_per_node()
    return {node for node, free in used.items() if free.get("CPU", 0) < 1}


def test_a_lost_node_s_students_move_to_a_spare(cluster, on_one_node, tmp_path):
    victim = cluster.add_node(num_cpus=2, num_gpus=0)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    lost = []

    def lose_a_node(record):
        if record["step"] >= 8 and not lost:
            cluster.add_node(num_cpus=2, num_gpus=0)
            lost.append(victim)
            cluster.remove_node(victim, allow_graceful=False)

    config = CohortConfig(
        k=4, run_dir=str(tmp_path / "run"), log_every=1, checkpoint_every=4, **SMALL
    )
    result = train_cohort(config, on_step=lose_a_node)
    assert lost
    assert result.summary["restarts"] == 2
    assert hashes(result.summary) == on_one_node


def test_the_command_joins_a_running_cluster_and_refuses_a_small_one(
    cluster, on_one_node, tmp_path
):
    cluster.add_node(num_cpus=2, num_gpus=0)
    flags = [word for key, value in SMALL.items() for word in (f"--{key.replace('_', '-')}", value)]
    flags += ["--address", cluster.address]
    code, out, err = run(*flags, "--k", 4, "--run-dir", tmp_path / "run")
    assert code == 0, out + err
    assert hashes(json.loads((tmp_path / "run" / "summary.json").read_text())) == on_one_node
    for number, most in ((33, 32), (500, 32)):
        code, out, err = run(*flags, "--k", number, "--run-dir", tmp_path / "refused")
        assert code == 2, out + err
        assert f"--k is {number}" in err
        assert f"use --k {most} or fewer" in err
        assert not os.path.exists(tmp_path / "refused")


def test_a_cluster_that_others_occupy_is_not_waited_for_for_ever(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("cohort.runtime.reservation.PLACEMENT_SECONDS", 2.0)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    taken = ray.util.placement_group([{"CPU": 1}] * 2)
    ray.get(taken.ready())
    config = CohortConfig(k=2, run_dir=str(tmp_path / "run"), **SMALL)
    with pytest.raises(ConfigError, match="need 2 CPUs and 0 GPUs, but others left 0 CPUs"):
        train_cohort(config)
    assert not (tmp_path / "run").exists()
