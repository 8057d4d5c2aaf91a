"""Checkpoints: the whole cohort at one step, or nothing."""

import errno
import json
import os

import pytest

from cohort.run import checkpoint as module
from cohort.run.checkpoint import MANIFEST, Progress, newest_checkpoint, write_checkpoint

PROGRESS = Progress(restarts=1, dropped=[2], wall_seconds=1.5)


def files(step, student):
    return {"model.safetensors": b"weights %d %d" % (step, student), "optimizer.pt": bytes(99)}


def write(root, step, *, keep=3, students=(0, 1)):
    snapshots = ((student, files(step, student)) for student in students)
    return write_checkpoint(root, step, snapshots, progress=PROGRESS, keep=keep)


def names(root):
    return sorted(path.name for path in root.iterdir())


@pytest.fixture
def two(tmp_path):
    """Checkpoints at steps 10 and 20."""
    write(tmp_path, 10)
    write(tmp_path, 20)
    return tmp_path


def test_round_trip(tmp_path):
    written = write(tmp_path, 7, students=(0, 3, 10))
    read = newest_checkpoint(tmp_path)
    assert read == written
    assert (read.step, read.students, read.progress) == (7, (0, 3, 10), PROGRESS)
    for student in (0, 3, 10):
        assert read.load(student) == files(7, student)
    assert read.load(1) == {}  # not the files of 10
    assert names(tmp_path) == ["step_00000007"]


def test_nothing_there(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    assert newest_checkpoint(tmp_path / "none") is None


def test_the_newest_is_found_by_number(tmp_path):
    for step in (9, 20, 100):
        write(tmp_path, step)
    os.utime(tmp_path / "step_00000009")  # not by the time
    assert newest_checkpoint(tmp_path).step == 100


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_keeps_the_newest(tmp_path, keep):
    for step in (0, 5, 10, 15):
        write(tmp_path, step, keep=keep)
    assert names(tmp_path) == [f"step_{step:08d}" for step in (0, 5, 10, 15)[-keep:]]


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize(
    "harm",
    [
        lambda step: flip(step / "1" / "optimizer.pt"),
        lambda step: truncate(step / "0" / "model.safetensors"),
        lambda step: (step / "0" / "optimizer.pt").unlink(),
        lambda step: truncate(step / MANIFEST),
        lambda step: (step / MANIFEST).unlink(),
        lambda step: (step / MANIFEST).write_bytes(b"\xff\xfe"),
        lambda step: (step / MANIFEST).write_text("[]"),
        lambda step: (step / MANIFEST).write_text(json.dumps({"step": 20})),
    ],
    ids=[
        "flipped",
        "truncated",
        "missing",
        "half-manifest",
        "no-manifest",
        "binary",
        "list",
        "incomplete",
    ],
)
def test_a_damaged_one_is_passed_over(two, harm):
    assert newest_checkpoint(two).step == 20
    harm(two / "step_00000020")
    assert newest_checkpoint(two).step == 10
    assert newest_checkpoint(two).load(1) == files(10, 1)


def rewrite(path, **changed):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("step", "x"), ("step", None), ("step", -1), ("step", 19), ("step", 20.5),
        ("students", ["a"]), ("students", []), ("students", None),
        ("files", []), ("files", None),
        ("progress", []), ("progress", {"restarts": "x"}), ("progress", {"dropped": 5}),
    ],
)  # fmt: skip
def test_one_whose_manifest_holds_values_of_another_kind_is_passed_over(two, key, value):
    rewrite(two / "step_00000020" / MANIFEST, **{key: value})
    assert newest_checkpoint(two).step == 10


def test_what_a_later_version_counts_besides_does_no_harm(two):
    rewrite(two / "step_00000020" / MANIFEST, progress={"restarts": 4, "of_a_later_version": 1})
    assert newest_checkpoint(two).progress == Progress(restarts=4)


def test_none_is_left_whole(two):
    flip(two / "step_00000010" / "0" / "model.safetensors")
    (two / "step_00000020" / "1" / "model.safetensors").unlink()
    assert newest_checkpoint(two) is None


def test_a_damaged_one_is_replaced_when_its_step_comes_again(two):
    truncate(two / "step_00000020" / MANIFEST)
    write(two, 20)
    assert newest_checkpoint(two).step == 20
    assert names(two) == ["step_00000010", "step_00000020"]


def test_a_damaged_later_one_does_not_take_the_place_of_a_whole_one(two):
    """The run goes on from 10 and may be killed again before it is back at 20."""
    flip(two / "step_00000020" / "0" / "model.safetensors")
    write(two, 15, keep=1)
    assert newest_checkpoint(two).step == 15
    assert names(two) == ["step_00000015"]


def test_a_full_disk_leaves_the_previous_and_nothing_half(two, monkeypatch):
    def refuse(path, content):
        if path.name == MANIFEST:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_synced(path, content)

    write_synced = module._write_synced
    monkeypatch.setattr(module, "_write_synced", refuse)
    with pytest.raises(OSError, match="No space left"):
        write(two, 30, keep=1)
    assert names(two) == ["step_00000010", "step_00000020"]


def test_a_student_that_fails_to_snapshot_leaves_the_previous(two):
    def snapshots():
        yield 0, files(30, 0)
        raise RuntimeError("student 1 died")

    with pytest.raises(RuntimeError, match="student 1 died"):
        write_checkpoint(two, 30, snapshots(), progress=PROGRESS, keep=1)
    assert newest_checkpoint(two).step == 20
    assert list(two.glob("step_*30")) == []


@pytest.mark.parametrize("survivor", range(6))
def test_killed_at_any_write_leaves_the_previous(two, monkeypatch, survivor):
    """Two students' two files, the manifest, the rename: stop before each of them."""
    done, write_synced, replace = [], module._write_synced, module.os.replace

    def counted(action):
        def act(*args):
            if len(done) == survivor:
                raise KeyboardInterrupt
            done.append(args)
            action(*args)

        return act

    monkeypatch.setattr(module, "_write_synced", counted(write_synced))
    monkeypatch.setattr(module.os, "replace", counted(replace))
    with pytest.raises(KeyboardInterrupt):
        write(two, 30, keep=1)
    assert len(done) == survivor
    assert newest_checkpoint(two).step == 20
    monkeypatch.undo()
    write(two, 30, keep=1)  # what was left half does not disturb
    assert names(two) == ["step_00000030"]
