"""Trackers are sent the records under the same names, in order, and cannot harm the run."""

import doctest
import importlib.util
import sys
import threading
import types

import pytest

from cohort import CohortConfig, resume, train_cohort
from cohort.reporting.records import make_record
from cohort.reporting.tracking import tracker as tracking
from cohort.reporting.tracking.aside import Aside
from cohort.reporting.tracking.tensorboard import TensorBoard
from cohort.reporting.tracking.tracker import About, remember, remembered, scalars
from cohort.reporting.tracking.trackers import open_trackers

needs_mlflow = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed"
)
# Of TensorBoard's protobuf, and of MLflow's and its packages' own.
pytestmark = pytest.mark.filterwarnings("ignore")


def record(step, student=0, phase="train", **measured):
    return make_record(
        phase=phase, step=step, epoch=step / 10, student=student, measurements=measured
    )


def test_names():
    assert doctest.testmod(tracking).failed == 0
    assert dict(scalars(record(3, student="ensemble", phase="test", nll=0.5, note="text"))) == {
        "test/nll/ensemble": 0.5
    }


def test_tensorboard_has_the_same_numbers(tmp_path):
    board = TensorBoard(tmp_path)
    board.write([record(10, loss=1.5, nothing=None), record(20, loss=1.25)])
    board.write([record(20, student=1, phase="test", exits={"ce": [0.5, 0.75]})])
    board.close("finished")
    assert read_events(tmp_path) == {
        "train/loss/student_0": [(10, 1.5), (20, 1.25)],
        "test/exits/ce/1/student_1": [(20, 0.5)],
        "test/exits/ce/2/student_1": [(20, 0.75)],
    }


def test_tensorboard_hides_what_a_resumed_run_repeats(tmp_path):
    board = TensorBoard(tmp_path)
    board.write([record(step, loss=float(step)) for step in (1, 2, 3)])
    board.rewind(2)
    board.write([record(step, loss=float(step)) for step in (3, 4)])
    board.close("finished")
    steps = [step for step, _ in read_events(tmp_path)["train/loss/student_0"]]
    assert steps == [1, 2, 3, 4]


def read_events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    tags = events.Tags()["scalars"]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


SMALL = {
    "exchange": "in_process",
    "threads": 1,
    "train_subset": 64,
    "test_subset": 16,
    "batch_size": 16,
    "epochs": 2,
    "log_every": 2,
}


@needs_mlflow
def test_no_database_lies_beside_the_folder_of_a_run(tmp_path, monkeypatch):
    """Where its name would be cut in the database's address."""
    from cohort.reporting.tracking.mlflow import MLflow

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "which?"
    folder.mkdir()
    with pytest.raises(ValueError, match=r"which\?/mlflow has a '\?'"):
        MLflow.open(About(folder, "which?", {}))
    assert [path.name for path in tmp_path.rglob("*")] == ["which?"]


@needs_mlflow
def test_a_run_and_its_continuation_are_one_run_of_mlflow(tmp_path, monkeypatch):
    """And TensorBoard beside it has the same."""
    from mlflow.tracking import MlflowClient

    store = (tmp_path / "store").as_uri()  # a database takes seconds to make
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    config = CohortConfig(
        **SMALL, steps=4, log_to="tensorboard,mlflow", run_dir=str(tmp_path / "mine")
    )
    records = []
    train_cohort(config, on_step=records.append)
    resumed = resume(tmp_path / "mine", given={"steps": 8}, on_step=records.append)
    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("cohort")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("mine", "FINISHED")
    assert remembered(tmp_path / "mine", "mlflow") == {"run": run.info.run_id}
    assert (run.data.params["steps"], run.data.params["teacher"]) == ("4", "peers")
    assert "run_dir" not in run.data.params
    assert run.data.tags["resumed.steps"] == "8"
    told = run.data.tags["summary.students.1.weights_sha256"]
    assert told == resumed.summary["students"][1]["weights_sha256"]
    expected: dict[str, list] = {}
    for each in records:
        for name, value in scalars(each):
            expected.setdefault(name, []).append((each["step"], value))
    assert {"train/loss/student_1", "test/accuracy/ensemble"} <= expected.keys()
    found = {
        name: sorted((m.step, m.value) for m in client.get_metric_history(run.info.run_id, name))
        for name in run.data.metrics
    }
    assert found == {name: sorted(values) for name, values in expected.items()}
    events = read_events(tmp_path / "mine" / "tensorboard")
    assert events["train/loss/student_1"] == [
        (step, pytest.approx(value)) for step, value in expected["train/loss/student_1"]
    ]


class FakeRun:
    def __init__(self, id):
        self.id, self.told, self.summary, self.ended = id, [], {}, None

    def define_metric(self, *_, **__):
        pass

    def log(self, values):
        self.told.append(values)

    def finish(self, exit_code):
        self.ended = exit_code


def test_wandb_is_offline_and_goes_on_with_its_run(tmp_path, monkeypatch):
    runs, asked = [], []

    def init(**options):
        asked.append(options)
        runs.append(FakeRun(options["id"] or "new"))
        return runs[-1]

    fake = types.SimpleNamespace(init=init, Settings=dict)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    about = About(tmp_path, "mine", {"k": 2})
    for status in ("interrupted", "finished"):
        (wandb,) = open_trackers(["wandb"], about, pytest.fail)
        wandb.write(record(10, loss=1.5))
        wandb.write(record(10, student=1, loss=2.5))
        wandb.conclude({"status": status, "ensemble": {"test_accuracy": 0.5}})
        wandb.close()
    assert [each["id"] for each in asked] == [None, "new"]
    assert [each["mode"] for each in asked] == ["offline", "offline"]
    assert asked[0]["config"] == {"k": 2}
    assert asked[0]["settings"]["console"] == "off"
    logged = {key: value for each in runs[0].told for key, value in each.items()}
    assert logged == {"step": 10, "train/loss/student_0": 1.5, "train/loss/student_1": 2.5}
    assert runs[1].summary["summary.ensemble.test_accuracy"] == 0.5
    assert [run.ended for run in runs] == [0, 0]


class Broken:
    """A tracker that fails at the second batch, or never comes back."""

    def __init__(self, hang=None):
        self.batches, self.hang = [], hang

    def write(self, records):
        self.batches.append(list(records))
        if self.hang is not None:
            self.hang.wait(60)
        raise OSError(28, "No space left on device")

    def rewind(self, step):
        raise AssertionError("it gets nothing more")

    conclude = close = rewind


def test_a_tracker_that_fails_complains_once_and_is_left_alone():
    said, broken = [], Broken()
    aside = Aside("mlflow", lambda: broken, said.append)
    for step in range(100):
        aside.write(record(step))
    aside.rewind(3)
    aside.conclude({"status": "finished"})
    aside.close()
    aside.write(record(101))
    assert len(broken.batches) == 1
    (line,) = said
    assert line.startswith("--log-to mlflow gets nothing more: OSError: [Errno 28] No space left")
    assert "metrics.jsonl has it all" in line


def test_a_tracker_that_cannot_begin_complains_once():
    said = []

    def refuse():
        raise ConnectionError("no route")

    aside = Aside("wandb", refuse, said.append)
    aside.write(record(1))
    aside.close()
    assert len(said) == 1


def test_a_tracker_that_hangs_is_waited_for_so_long_only(monkeypatch):
    monkeypatch.setattr("cohort.reporting.tracking.aside.MOST", 5)
    said, free = [], threading.Event()
    aside = Aside("mlflow", lambda: Broken(free), said.append)
    for step in range(50):
        aside.write(record(step))  # which never waits
    aside.close(0.01)
    assert len(said) == 1
    free.set()


def test_what_trackers_remember_lies_side_by_side_and_may_be_damaged(tmp_path):
    remember(tmp_path, "mlflow", {"run": "a"})
    remember(tmp_path, "wandb", {"run": "b"})
    assert [remembered(tmp_path, name) for name in ("mlflow", "wandb")] == [
        {"run": "a"}, {"run": "b"},
    ]  # fmt: skip
    for text in ("", "[]", '{"mlflow": 3}'):
        (tmp_path / "trackers.json").write_text(text)
        assert remembered(tmp_path, "mlflow") == {}
