"""Cohorts over several nodes: simulated by raylets on this machine, one core each."""

import json
import os
import shutil
import tempfile
from contextlib import contextmanager

import pytest
import ray
from ray.cluster_utils import Cluster

from cohort import CohortConfig, ConfigError, train_cohort
from cohort.reporting.records import read_metrics
from cohort.runtime.own_gpu import VISIBLE, environment, index_of
from tests.support.command import run_here
from tests.support.pictures import make_market

SMALL = {
    "train_subset": 128,
    "test_subset": 32,
    "batch_size": 16,
    "epochs": 2,
    "threads": 1,
    "students": "resnet8",
    "log_every": 1,
    "checkpoint_every": 4,
}
NODE = {"num_cpus": 1, "num_gpus": 0}


@pytest.fixture(scope="module")
def cluster():
    """Two nodes, of which the second may be lost if another one takes its place."""
    folder = tempfile.mkdtemp(prefix="ray-")
    os.mkdir(os.path.join(folder, "ray"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)  # where Cluster writes its address, beside no other
        head = {**NODE, "temp_dir": folder, "include_dashboard": False}
        started = Cluster(initialize_head=True, head_node_args=head)
        started.add_node(**NODE)
        yield started
        started.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def joined(cluster):
    """This process has joined."""
    with joining(cluster):
        yield


@contextmanager
def joining(cluster):
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()


@pytest.fixture(scope="module")
def on_one_node(tmp_path_factory):
    """Students that never left this process: their hashes and losses."""
    run_dir = tmp_path_factory.mktemp("oracle") / "run"
    train_cohort(CohortConfig(exchange="in_process", run_dir=str(run_dir), **SMALL))
    return hashes(run_dir), losses(run_dir)


def hashes(run_dir):
    summary = json.loads((run_dir / "summary.json").read_text())
    return [student["weights_sha256"] for student in summary["students"]]


def losses(run_dir):
    records = [r for r in read_metrics(run_dir / "metrics.jsonl") if r["phase"] == "train"]
    return sorted((r["step"], r["student"], r["loss"]) for r in records)


def flags(**options):
    """On the command line."""
    every = {**SMALL, **options}.items()
    return [word for key, value in every for word in (f"--{key.replace('_', '-')}", str(value))]


def nodes_of(kind, *states):
    """Nodes of all actors of a class, dead ones too, that are in one of these states."""
    every = [a for a in ray._private.state.actors().values() if a["State"] in states]
    return {actor["Address"]["NodeID"] for actor in every if actor["ActorClassName"] == kind}


def test_the_command_joins_a_running_cluster_and_refuses_a_small_one(
    cluster, on_one_node, tmp_path, monkeypatch, capsys
):
    def launch(**options):
        return run_here(monkeypatch, capsys, *flags(address=cluster.address, **options))

    for number in (17, 500):
        code, out, err = launch(k=number, run_dir=tmp_path / "refused")
        assert code == 2, out + err
        assert f"--k is {number}" in err
        assert "use --k 16 or fewer" in err
        assert not os.path.exists(tmp_path / "refused")
    code, out, err = launch(k=2, run_dir=tmp_path / "run")
    assert code == 0, out + err
    assert not ray.is_initialized()
    with joining(cluster):
        assert len(nodes_of("HostActor", "DEAD")) == 2, "the students were not spread"
    assert (hashes(tmp_path / "run"), losses(tmp_path / "run")) == on_one_node


def test_a_lost_node_s_student_moves_to_a_spare(cluster, joined, on_one_node, tmp_path):
    """And students that gather posteriors among themselves find each other on other nodes, twice."""
    (victim,) = cluster.worker_nodes
    before, lost = set(), []

    def lose_a_node(record):
        if record["step"] >= 8 and not lost:
            before.update(nodes_of("HostActor", "ALIVE"))
            cluster.add_node(**NODE)
            lost.append(victim)
            cluster.remove_node(victim, allow_graceful=False)

    config = CohortConfig(exchange="collective", run_dir=str(tmp_path / "run"), **SMALL)
    result = train_cohort(config, on_step=lose_a_node)
    assert lost
    assert victim.node_id in before
    assert len(before) == 2, "the students were not spread"
    assert result.summary["restarts"] == 1
    assert (hashes(tmp_path / "run"), losses(tmp_path / "run")) == on_one_node


@pytest.mark.slow
def test_a_feeder_on_each_node_gives_what_lies_in_memory_though_one_is_lost(
    cluster, joined, tmp_path
):
    pictures = make_market(tmp_path / "pictures", size=(32, 16))
    (victim,) = cluster.worker_nodes
    before, lost = set(), []

    def lose_a_node(record):
        if record["step"] >= 6 and not lost:
            before.update(nodes_of("NodeFeeder", "ALIVE"))
            cluster.add_node(**NODE)
            lost.append(victim)
            cluster.remove_node(victim, allow_graceful=False)

    def train(where, on_step=None, **options):
        config = {
            "dataset": "market1501", "data_root": str(pictures), "image_size": "24x12", "batch_size": 16,
            "epochs": 4, "checkpoint_every": 4, "log_every": 1, "threads": 1,
            "students": "tests.support.teacher_runs:small", "run_dir": str(tmp_path / where),
        }  # fmt: skip
        return train_cohort(CohortConfig(**config, **options), on_step=on_step).summary

    memory = train("memory", exchange="in_process", feed="memory")
    nodes = train("nodes", lose_a_node, feed="node")
    assert nodes["students"] == memory["students"]
    assert nodes["restarts"] == 1
    assert len(before) == 2
    assert victim.node_id in before
    assert len(nodes_of("NodeFeeder", "ALIVE", "DEAD") - before) == 1, "the spare has none"
    assert not nodes_of("NodeFeeder", "ALIVE", "RESTARTING", "PENDING_CREATION")


@pytest.mark.parametrize(
    ("visible", "own"), [(None, {0, 1}), ("5,7", {"5", "7"})], ids=["all", "two of the machine"]
)
def test_an_actor_with_a_gpu_sees_those_of_others_and_knows_its_own(
    cluster, joined, monkeypatch, visible, own
):
    """Of two that the node only claims to have: what Ray hands out needs no hardware."""
    monkeypatch.delenv(VISIBLE, raising=False)
    if visible is not None:
        monkeypatch.setenv(VISIBLE, visible)
    node = cluster.add_node(num_cpus=0, num_gpus=2)

    class Holder:
        def gpu(self):
            return os.environ.get(VISIBLE), ray.get_gpu_ids()

    kind = ray.remote(Holder).options(num_cpus=0, num_gpus=1, **environment("cuda"))
    seen = ray.get([holder.gpu.remote() for holder in [kind.remote(), kind.remote()]])
    cluster.remove_node(node)
    assert [shown for shown, _ in seen] == [visible, visible]
    assert {gpu for _, (gpu,) in seen} == own
    assert {index_of(gpus, shown) for shown, gpus in seen} == {0, 1}


def test_a_cluster_that_others_occupy_is_not_waited_for_for_ever(joined, tmp_path, monkeypatch):
    monkeypatch.setattr("cohort.runtime.reservation.PLACEMENT_SECONDS", 2.0)
    taken = ray.util.placement_group([{"CPU": 1}] * 2)
    ray.get(taken.ready())
    config = CohortConfig(k=2, run_dir=str(tmp_path / "run"), **SMALL)
    with pytest.raises(ConfigError, match="need 2 CPUs and 0 GPUs, but others left 0 CPUs"):
        train_cohort(config)
    assert not (tmp_path / "run").exists()
    ray.util.remove_placement_group(taken)
    groups = ray.util.placement_group_table().values()
    assert any(group["name"].startswith("students-") for group in groups), "theirs has no name"
