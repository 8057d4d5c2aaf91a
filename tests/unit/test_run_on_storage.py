"""Runs whose folder is a URI: there is what a folder here would hold, and the storage may fail."""

import dataclasses
import json
import shutil
from pathlib import Path

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

SMALL = {
    "train_subset": 64, "test_subset": 20, "batch_size": 32, "epochs": 3, "checkpoint_every": 2,
    "log_every": 1, "threads": 1, "lr": 0.1,
}  # fmt: skip
KINDS = {
    "cohort": (train_cohort, CohortConfig(**SMALL, students="resnet8", exchange="in_process")),
    "job": (self_distill, SelfDistillConfig(**SMALL, model="resnet8", workers=0)),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


class StopAfter:
    """Stops a run after the checkpoint of a step."""

    def __init__(self, step):
        self._step, self._reached = step, False

    def saved(self, step, total_steps):
        self._reached = step >= self._step

    def stopping(self):
        return self._reached


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """What nothing disturbs, in folders here: the run of each kind."""
    folder = tmp_path_factory.mktemp("here")
    return {kind: train(kind, folder / kind) for kind in KINDS}


def train(kind, run_dir=RUN, *, watcher=None, on_step=None, **changes):
    function, config = KINDS[kind]
    config = dataclasses.replace(config, run_dir=str(run_dir), **changes)
    return function(config, watcher=watcher, on_step=on_step)


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
    result = train(kind)
    assert (result.given, result.run_dir) == (RUN, mirror())
    assert hashes(result) == hashes(here[kind])
    there = names(memory)
    ours = {path for path in contents(here[kind].run_dir) if (here[kind].run_dir / path).is_file()}
    assert there.keys() == ours
    for name in ours:
        if name.startswith("students/") or name in ("config.yaml", "data.json"):
            assert there[name] == (here[kind].run_dir / name).read_bytes(), name
    assert json.loads(there["summary.json"])["status"] == "finished"
    assert there["metrics.jsonl"] == (result.run_dir / "metrics.jsonl").read_bytes()


def test_pyarrow_s_own_file_systems_do_as_well(memory, here, tmp_path):
    uri = f"file://{tmp_path}/far/run"
    train("job", uri, watcher=StopAfter(2))
    shutil.rmtree(tmp_path / "cache")
    assert hashes(resume(uri)) == hashes(here["job"])
    assert (tmp_path / "far/run/summary.json").exists()
    assert not list((tmp_path / "far/run").glob(".*"))  # nor what it was tried with


def leave_nothing(mirror):
    shutil.rmtree(mirror)


def leave_another(mirror):
    """A run that went further, with other weights: as if another machine had gone back since."""
    shutil.rmtree(mirror)
    train("cohort", mirror, lr=0.5)


def go_beyond(mirror):
    """The same run, which went on here, and was not copied."""
    resume(mirror)


@each_kind
@pytest.mark.parametrize("change", [leave_nothing, leave_another, go_beyond])
def test_it_goes_on_from_what_is_there_whatever_is_here(memory, here, kind, change):
    begun = train(kind, watcher=StopAfter(2))
    assert begun.interrupted
    assert begun.to_resume.endswith(f"--resume {RUN}")
    change(mirror())
    result = resume(RUN)
    assert hashes(result) == hashes(here[kind])
    assert steps(result) == [1, 2, 3, 4, 5, 6]
    assert names(memory).keys() >= {"students/0/model.json", "summary.json"}


@each_kind
def test_a_storage_that_fails_every_third_time_changes_nothing(failing, here, kind):
    handler = failing(lambda number, call: number % 3 == 0)
    train(kind, watcher=StopAfter(2))
    shutil.rmtree(mirror())
    assert hashes(resume(RUN)) == hashes(here[kind])
    assert {call.split()[0] for call in handler.fired} >= {"look", "write", "read"}
    assert len(handler.fired) == len(handler.calls) // 3


CUTS = [
    f"write checkpoints/step_00000004/{name}" for name in ("0/model.safetensors", "manifest.json")
]


@each_kind
@pytest.mark.parametrize("cut", CUTS)
def test_one_that_goes_for_good_ends_the_run_and_loses_nothing(
    memory, behind, failing, here, kind, cut
):
    """Amid a checkpoint, which is none there: before its files are, and before its manifest is."""
    gone = []

    def fails(number, call):
        gone.extend([call] if call == cut else [])
        return bool(gone)

    handler = failing(fails)
    with pytest.raises(RunError) as caught:
        train(kind)
    assert str(caught.value).startswith(f"{RUN} cannot be written (OSError: the cable is cut); ")
    assert f"--resume {mirror()}, or " in str(caught.value)
    assert str(caught.value).endswith(f"--resume {RUN}")
    assert handler.fired[:4] == [cut] * 4  # as often as it is tried
    assert len(set(handler.fired[3:])) == len(handler.fired[3:]) <= 3  # then once for whatever is left
    summary = RunFolder(mirror()).read_summary()
    assert (summary["status"], summary["error"]) == ("failed", str(caught.value))
    assert newest_checkpoint(mirror() / "checkpoints").step == 4
    with pytest.raises(ConfigError, match=f"{RUN} cannot be read: OSError: the cable is cut"):
        resume(RUN)

    assert hashes(resume(mirror())) == hashes(here[kind])  # here, without the storage
    gone.clear()
    cut_again = failing(lambda number, call: False)
    found = MirroredFolder(RUN).opened()
    assert newest_checkpoint(found.checkpoints).step == 2  # the one before
    result = resume(RUN)
    assert hashes(result) == hashes(here[kind])
    assert steps(result) == [1, 2, 3, 4, 5, 6]
    assert cut in cut_again.calls


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


def test_what_arrived_by_half_is_written_again(memory, behind, here):
    handler = behind(Halving(memory))
    assert hashes(train("job")) == hashes(here["job"])
    assert len(handler.halved) > 10
    for name, content in names(memory).items():
        assert content == (mirror() / name).read_bytes(), name


def test_the_newest_that_is_damaged_there_is_passed_over(memory, here):
    train("cohort", watcher=StopAfter(4))
    memory.pipe_file("/bucket/run/checkpoints/step_00000004/1/optimizer.pt", b"noise")
    assert newest_checkpoint(MirroredFolder(RUN).opened().checkpoints).step == 2
    assert not (mirror() / "checkpoints/step_00000004").exists()
    assert hashes(resume(RUN)) == hashes(here["cohort"])


def test_without_a_whole_one_there_is_nothing_to_go_on_from(memory):
    train("job", watcher=StopAfter(2))
    for path in memory.find("/bucket/run/checkpoints"):
        memory.pipe_file(path, b"{}")
    with pytest.raises(ConfigError, match=f"there is no valid checkpoint in {RUN}/checkpoints; "):
        resume(RUN)


@pytest.mark.parametrize("keep", [1, 2])
def test_a_manifest_comes_last_and_what_it_replaces_goes_after_it(failing, memory, keep):
    handler = failing(lambda number, call: False)
    train("job", keep=keep)
    done = [call for call in handler.calls if call.startswith(("write", "remove"))]
    for step in (0, 2, 4, 6):
        place = f"checkpoints/step_{step:08d}"
        (at,) = [i for i, call in enumerate(done) if call == f"write {place}/manifest.json"]
        files = [i for i, call in enumerate(done) if call.startswith(f"write {place}/0/")]
        assert files == list(range(at - 1 - len(files), at - 1))
        assert done[at - 1] == "write metrics.jsonl"
        outdated = step - 2 * keep
        removed = [f"remove checkpoints/step_{outdated:08d}"] if outdated >= 0 else []
        assert [call for call in done[at + 1 : at + 2] if call.startswith("remove")] == removed
    kept = {name.split("/")[1] for name in names(memory) if name.startswith("checkpoints/")}
    assert kept == {"step_00000006", "step_00000004"} if keep == 2 else {"step_00000006"}
    assert done[-1] == "write summary.json"


def test_what_a_run_leaves_besides_is_copied_when_it_ends(memory):
    def on_step(record):
        (mirror() / "tensorboard").mkdir(exist_ok=True)
        (mirror() / "tensorboard/events").write_text(str(record["step"]))

    train("job", on_step=on_step)
    assert names(memory)["tensorboard/events"] == b"6"


def test_a_baseline_lies_below(memory):
    result = train("cohort", baseline=True)
    assert result.alone.given == f"{RUN}/alone"
    assert json.loads(names(memory)["alone/summary.json"])["status"] == "finished"
    again = resume(RUN)
    assert hashes(again) == hashes(result)
    assert hashes(again.alone) == hashes(result.alone)


def test_a_place_that_is_taken_and_one_that_is_no_run(memory, tmp_path):
    memory.pipe_file("/bucket/run/notes.txt", b"mine")
    with pytest.raises(ConfigError) as caught:
        train("job")
    assert str(caught.value).startswith(f"--run-dir {RUN} already holds something; name a folder")
    assert str(caught.value).endswith(f"by --resume {RUN}")
    for place in (RUN, "memory://bucket/none"):
        with pytest.raises(
            ConfigError, match=f"^{place} is not the folder of a run: it has no config"
        ):
            resume(place)
    assert names(memory) == {"notes.txt": b"mine"}


def test_two_of_this_machine_do_not_train_it(memory):
    refused = []

    def beside(record):
        if record["step"] == 3 and not refused:
            with pytest.raises(ConfigError, match="another process trains this run") as caught:
                resume(RUN)
            refused.append(str(caught.value))

    assert train("job", on_step=beside).summary["status"] == "finished"
    assert refused[0].startswith(f"--resume {RUN}: ")


def test_a_cache_that_goes_ends_the_run_which_goes_on_from_there(memory, here):
    def empty(record):
        if record["step"] == 3 and mirror().exists():
            shutil.rmtree(mirror())

    with pytest.raises(RunError, match=f"was removed or moved .* go on by --resume {RUN}$"):
        train("job", on_step=empty)
    assert hashes(resume(RUN)) == hashes(here["job"])


def test_it_is_read_from_there(memory):
    """By evaluate, and by those whom its students teach."""
    train("cohort", teacher="none")
    shutil.rmtree(mirror())
    config = OdsConfig(**SMALL, teachers=RUN, workers=0, run_dir="memory://bucket/student")
    distilled = ods_distill(config)
    assert json.loads(names(memory, "/bucket/student")["summary.json"])["status"] == "finished"
    found = evaluate_run("memory://bucket/student").summary
    assert [line["weights_sha256"] for line in found["students"]] == hashes(distilled)
    assert [line["size"] for line in found["teachers"]] == [1, 2]
    assert not (Path(cache_of(RUN, "copies")) / "checkpoints").exists()


def test_what_is_read_is_what_is_there_now(memory):
    first = train("job", epochs=2)
    assert evaluate_run(RUN).summary["students"][0]["weights_sha256"] == hashes(first)[0]
    second = resume(RUN, given={"epochs": 3})
    assert evaluate_run(RUN).summary["students"][0]["weights_sha256"] == hashes(second)[0]
    assert hashes(first) != hashes(second)


def test_a_student_alone_is_not(memory):
    with pytest.raises(ConfigError, match="load_student is 'memory://a/students/0', on a storage"):
        load_student("memory://a/students/0")
