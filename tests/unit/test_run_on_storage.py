"""Runs whose folder is a URI: there is what a folder here would hold, and the storage may fail."""

import dataclasses
import json
import shutil

import pytest

from cohort import (
    CohortConfig,
    ConfigError,
    OdsConfig,
    RunError,
    SelfDistillConfig,
    load_student,
    ods_distill,
    resume,
    self_distill,
    train_cohort,
)
from cohort.analysis.evaluate import evaluate_run
from cohort.reporting.records import read_metrics
from cohort.run.checkpoint import newest_checkpoint
from cohort.run.folder import RunFolder
from cohort.run.mirror import MirroredFolder
from cohort.run.storage import cache_of
from tests.support.refusal import contents
from tests.support.storages import RUN, Halving, names
from tests.support.storages import behind as behind
from tests.support.storages import failing as failing
from tests.support.storages import memory as memory

NETWORK = "tests.support.teacher_runs:small"
SMALL = {
    "train_subset": 32, "test_subset": 10, "batch_size": 16, "epochs": 2, "checkpoint_every": 2,
    "log_every": 1, "threads": 1, "lr": 0.1, "trust_code": True,
}  # fmt: skip
KINDS = {
    "cohort": (train_cohort, CohortConfig(**SMALL, students=NETWORK, exchange="in_process")),
    "job": (
        self_distill, SelfDistillConfig(**SMALL, model=NETWORK, method="none", workers=0)
    ),
}  # fmt: skip
each_kind = pytest.mark.parametrize("kind", KINDS)


class StopAfter:
    """Stops a run after the checkpoint of a step."""

    def __init__(self, step):
        self._step, self._reached = step, False

    def saved(self, step, total_steps):
        self._reached = step >= self._step

    def stopping(self):
        return self._reached


def train(kind, run_dir=RUN, *, watcher=None, on_step=None, **changes):
    function, config = KINDS[kind]
    config = dataclasses.replace(config, run_dir=str(run_dir), **changes)
    return function(config, watcher=watcher, on_step=on_step)


def go_on(run_dir=RUN, *, on_step=None, **given):
    return resume(run_dir, given={"trust_code": True, **given}, on_step=on_step)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """What nothing disturbs, in folders here: the run of each kind, 4 steps long."""
    folder = tmp_path_factory.mktemp("here")
    return {kind: train(kind, folder / kind) for kind in KINDS}


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """The folder of a run of each kind that was interrupted after step 2, a job's one step later."""
    folder = tmp_path_factory.mktemp("half")
    for kind in KINDS:
        train(kind, folder / kind, watcher=StopAfter(2))
    return folder


@pytest.fixture
def begun(memory, half):
    """Puts such a run at the URI, with nothing of it here; returns the URI."""

    def put(kind="cohort"):
        memory.put(str(half / kind), RUN, recursive=True)
        return RUN

    return put


def hashes(result):
    return [line["weights_sha256"] for line in result.summary["students"]]


def steps(result):
    """Of the records of training, in the order in which they stand in the file."""
    lines = read_metrics(result.run_dir / "metrics.jsonl")
    return [line["step"] for line in lines if line["phase"] == "train" and line["student"] == 0]


def mirror():
    return cache_of(RUN, "runs")


@each_kind
def test_it_holds_what_a_folder_here_would(memory, here, kind):
    result, folder = train(kind), here[kind].run_dir
    assert (result.given, result.run_dir) == (RUN, mirror())
    assert hashes(result) == hashes(here[kind])
    there = names(memory)
    assert there.keys() == {name for name in contents(folder) if (folder / name).is_file()}
    for name, content in there.items():
        if name.startswith("students/") or name in ("config.yaml", "data.json"):
            assert content == (folder / name).read_bytes(), name
        assert content == (mirror() / name).read_bytes(), name


def test_a_file_system_of_pyarrow_s_own_does_as_well(memory, here, tmp_path):
    uri, far = f"file://{tmp_path}/far/run", tmp_path / "far/run"
    begun = train("job", uri, watcher=StopAfter(2))
    assert begun.interrupted
    assert begun.to_resume.endswith(f"--resume {uri} --trust-code")
    shutil.rmtree(tmp_path / "cache")
    assert hashes(go_on(uri)) == hashes(here["job"])
    assert (far / "summary.json").exists()
    assert not list(far.glob(".*"))  # what was tried out


def leave_nothing():
    assert not mirror().exists()


def leave_another():
    """A run that went further, with other weights: as if another machine had begun anew since."""
    train("job", mirror(), lr=0.5)


def go_beyond():
    """The same run, which went on here, and was not copied."""
    MirroredFolder(RUN).opened()
    go_on(mirror())


@pytest.mark.parametrize(
    ("kind", "before"), [("job", leave_nothing), ("cohort", leave_another), ("cohort", go_beyond)]
)
def test_it_goes_on_from_what_is_there_whatever_is_here(memory, begun, here, kind, before):
    begun(kind)
    before()
    result = go_on()
    assert hashes(result) == hashes(here[kind])
    assert steps(result) == [1, 2, 3, 4]
    assert json.loads(names(memory)["summary.json"])["status"] == "finished"


def test_a_storage_that_fails_every_third_time_changes_nothing(failing, here):
    handler = failing(lambda number, call: number % 3 == 0)
    train("cohort", watcher=StopAfter(2))
    shutil.rmtree(mirror())
    assert hashes(go_on()) == hashes(here["cohort"])
    assert {call.split()[0] for call in handler.fired} >= {"look", "write", "read"}
    assert len(handler.fired) == len(handler.calls) // 3


PLACE = "write checkpoints/step_00000004"


@pytest.mark.parametrize(
    ("kind", "cut"), [("job", f"{PLACE}/0/model.safetensors"), ("cohort", f"{PLACE}/manifest.json")]
)
def test_one_that_goes_for_good_ends_the_run_and_loses_nothing(begun, failing, here, kind, cut):
    """Before a checkpoint's files are there, or before its manifest is."""
    gone = []

    def fails(number, call):
        gone.extend([call] if call == cut else [])
        return bool(gone)

    begun(kind)
    handler = failing(fails)
    with pytest.raises(RunError) as caught:
        go_on()
    assert str(caught.value).startswith(f"{RUN} cannot be written (OSError: the cable is cut); ")
    assert f"--resume {mirror()}, or " in str(caught.value)
    assert str(caught.value).endswith(f"--resume {RUN}")
    assert handler.fired[:4] == [cut] * 4  # as often as it is tried
    assert len(handler.fired) == 5  # then once, for the summary
    summary = RunFolder(mirror()).read_summary()
    assert (summary["status"], summary["error"]) == ("failed", str(caught.value))
    with pytest.raises(ConfigError, match=f"{RUN} cannot be read: OSError: the cable is cut$"):
        go_on()
    assert newest_checkpoint(mirror() / "checkpoints").step == 4
    assert hashes(go_on(mirror())) == hashes(here[kind])  # here, without the storage

    gone.clear()
    handler = failing(lambda number, call: False)
    found = MirroredFolder(RUN).opened()
    assert (
        newest_checkpoint(found.checkpoints).step == {"cohort": 2, "job": 3}[kind]
    )  # the one before
    result = go_on()
    assert hashes(result) == hashes(here[kind])
    assert steps(result) == [1, 2, 3, 4]
    assert cut in handler.calls


def test_one_that_cannot_be_written_when_a_run_begins(failing):
    failing(lambda number, call: call.endswith("config.yaml"))
    with pytest.raises(RunError, match=r"the cable is cut\); start the run again when it can be$"):
        train("job")


def test_one_that_cannot_be_written_at_all_is_refused(failing, memory):
    failing(lambda number, call: call.startswith("write"))
    with pytest.raises(
        ConfigError, match=f"^--run-dir {RUN} cannot be written: OSError: the cable"
    ):
        train("job")
    assert not memory.find("/")


def test_what_arrived_by_half_is_written_again(memory, begun, behind, here):
    """And what others put into the folder, as TensorBoard does, is copied when the run ends."""
    begun("job")
    handler = behind(Halving(memory))

    def on_step(record):
        (mirror() / "tensorboard").mkdir(exist_ok=True)
        (mirror() / "tensorboard/events").write_text(str(record["step"]))

    assert hashes(go_on(on_step=on_step)) == hashes(here["job"])
    assert len(handler.halved) > 10
    there = names(memory)
    assert there["tensorboard/events"] == b"4"
    for name, content in there.items():
        assert content == (mirror() / name).read_bytes(), name


def test_the_newest_that_is_damaged_there_is_passed_over(memory, begun):
    begun()
    memory.pipe_file(f"{RUN}/checkpoints/step_00000002/1/optimizer.pt", b"noise")
    assert newest_checkpoint(MirroredFolder(RUN).opened().checkpoints).step == 0
    assert not (mirror() / "checkpoints/step_00000002/manifest.json").exists()
    memory.pipe_file(f"{RUN}/checkpoints/step_00000000/manifest.json", b"{}")
    with pytest.raises(ConfigError, match=f"there is no valid checkpoint in {RUN}/checkpoints; "):
        go_on()


def test_a_manifest_comes_last_and_what_it_replaces_goes_after_it(failing, memory):
    handler = failing(lambda number, call: False)
    train("job", keep=1)
    done = [call for call in handler.calls if call.startswith(("write", "remove"))]
    for step in (0, 2, 4):
        place = f"write checkpoints/step_{step:08d}"
        at = done.index(f"{place}/manifest.json")
        assert done[at - 1] == "write metrics.jsonl"
        files = [i for i, call in enumerate(done) if call.startswith(f"{place}/0/")]
        assert files == list(range(at - 1 - len(files), at - 1))
        if step > 0:
            assert done[at + 1] == f"remove checkpoints/step_{step - 2:08d}"
    assert sum(call.startswith("remove checkpoints") for call in done) == 2
    assert {name.split("/")[1] for name in names(memory) if "/step_" in name} == {"step_00000004"}
    assert done[-1] == "write summary.json"


def test_a_baseline_lies_below(memory):
    result = train("cohort", baseline=True, epochs=1)
    assert result.alone.given == f"{RUN}/alone"
    assert json.loads(names(memory)["alone/summary.json"])["status"] == "finished"
    again = go_on()
    assert hashes(again) == hashes(result)
    assert hashes(again.alone) == hashes(result.alone)


def test_a_place_that_is_taken_and_one_that_is_no_run(memory):
    memory.pipe_file(f"{RUN}/notes.txt", b"mine")
    with pytest.raises(ConfigError) as caught:
        train("job")
    assert str(caught.value).startswith(f"--run-dir {RUN} already holds something; name a folder")
    assert str(caught.value).endswith(f"by --resume {RUN}")
    for place in (RUN, "memory://bucket/none"):
        with pytest.raises(
            ConfigError, match=f"^{place} is not the folder of a run: it has no con"
        ):
            go_on(place)
    assert names(memory) == {"notes.txt": b"mine"}


def test_a_new_run_begins_with_nothing_of_an_earlier_one(memory, begun, here):
    begun("job")
    MirroredFolder(RUN).opened()
    memory.rm(RUN, recursive=True)
    (mirror() / "students").mkdir()
    (mirror() / "students/mine.txt").touch()
    assert hashes(train("job")) == hashes(here["job"])
    assert "students/mine.txt" not in names(memory)


def test_two_of_this_machine_do_not_train_it_and_a_cache_that_goes_ends_it(begun, here):
    refused = []

    def beside(record):
        if refused:
            return
        with pytest.raises(ConfigError, match="another process trains this run") as caught:
            go_on()
        refused.append(str(caught.value))
        shutil.rmtree(mirror())

    begun("job")
    with pytest.raises(RunError, match=f"was removed or moved .* go on by --resume {RUN}$"):
        go_on(on_step=beside)
    assert refused[0].startswith(f"--resume {RUN}: ")
    assert hashes(go_on()) == hashes(here["job"])


def test_it_is_read_from_there_as_it_is_now(memory):
    """By evaluate, and by those whom its students teach."""
    first = train("cohort", teacher="none", epochs=1)
    shutil.rmtree(mirror())
    student = "memory://bucket/student"
    distilled = ods_distill(OdsConfig(**SMALL, teachers=RUN, workers=0, run_dir=student))
    found = evaluate_run(student, trust_code=True).summary
    assert [line["weights_sha256"] for line in found["students"]] == hashes(distilled)
    assert [line["size"] for line in found["teachers"]] == [1, 2]
    assert not (cache_of(RUN, "copies") / "checkpoints").exists()
    assert not mirror().exists()
    second = go_on(epochs=2)
    found = evaluate_run(RUN, trust_code=True).summary
    assert [line["weights_sha256"] for line in found["students"]] == hashes(second)
    assert hashes(first) != hashes(second)


def test_a_student_alone_is_not(memory):
    with pytest.raises(ConfigError, match="load_student is 'memory://a/students/0', on a storage"):
        load_student("memory://a/students/0")


def test_a_storage_that_is_emptied_under_a_run_ends_it(memory, here):
    """What the mirror holds is enough to go on with."""

    def empty(record):
        if (record["step"], record["phase"], record["student"]) == (2, "train", 0):
            memory.rm("/bucket/run", recursive=True)

    with pytest.raises(
        RunError, match=f"^{RUN} was emptied or moved while its run was going on; all of it is in"
    ):
        train("cohort", on_step=empty)
    assert hashes(go_on(mirror())) == hashes(here["cohort"])
