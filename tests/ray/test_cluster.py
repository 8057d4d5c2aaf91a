"""Cohorts over several nodes: simulated by raylets on this machine, one core each."""

import json
import os
import re
import shutil
import tempfile
import time
from contextlib import contextmanager

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2

from cohort import CohortConfig, train_cohort
from cohort.reporting.records import read_metrics
from cohort.run.journal import Journal
from cohort.runtime import actors, preemption
from cohort.runtime.own_gpu import VISIBLE, environment, index_of
from cohort.runtime.preemption import NodeNotices
from tests.support.command import run_here, wait_until
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


@pytest.mark.slow
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


@pytest.fixture
def notices(monkeypatch):
    """What the user is told."""
    told = []
    monkeypatch.setattr(Journal, "notice", lambda journal, text: told.append(text))
    return told


@pytest.fixture
def looks(monkeypatch):
    """Those who look after nodes that are to go, all the time."""
    made = []

    class Looking(NodeNotices):
        def __init__(self):
            made.append(self)
            super().__init__()

    monkeypatch.setattr(preemption, "SECONDS", 0.01)
    monkeypatch.setattr(actors, "NodeNotices", Looking)
    return made


def drain(node_id):
    """What a cloud does before it takes a node away."""
    client = ray._raylet.GcsClient(address=ray.get_runtime_context().gcs_address)
    reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    accepted, why = client.drain_node(node_id, reason, "", int(1000 * (time.time() + 600)))
    assert accepted, why


@pytest.mark.slow
def test_a_node_s_students_are_saved_when_it_is_to_go_and_move_to_a_spare(
    cluster, joined, on_one_node, tmp_path, notices, looks
):
    """And students that gather posteriors among themselves find each other on other nodes, twice."""
    (victim,) = cluster.worker_nodes
    checkpoints = tmp_path / "run" / "checkpoints"
    before, drained, lost = set(), [], []

    def take_a_node_away(record):
        if record["step"] >= 4 and not drained:
            before.update(nodes_of("HostActor", "ALIVE"))
            drained.append(victim)
            drain(victim.node_id)
            wait_until(lambda: victim.node_id in looks[0].going)
        if len(saved := sorted(checkpoints.glob("step_*"))) > 1 and not lost:
            cluster.add_node(**NODE)
            lost.append(int(saved[-1].name.removeprefix("step_")))
            cluster.remove_node(victim, allow_graceful=False)

    options = {**SMALL, "checkpoint_every": 16, "eval_every": 2}  # only the notice has it saved
    config = CohortConfig(exchange="collective", run_dir=str(tmp_path / "run"), **options)
    result = train_cohort(config, on_step=take_a_node_away)
    (step,) = lost
    assert 0 < step < 16
    assert victim.node_id in before
    assert len(before) == 2, "the students were not spread"
    assert result.summary["restarts"] == 1
    (told,) = (notice for notice in notices if notice.startswith("the node of"))
    assert re.fullmatch(rf"the node of student [01] is to go; checkpoint at step {step}", told)
    assert any(notice.endswith(f"all go on from step {step}") for notice in notices), notices
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


@pytest.mark.slow
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
