"""Records on disk: whole lines, torn lines."""

import contextlib
import math
from pathlib import Path

import pytest

from cohort.errors import ConfigError
from cohort.reporting.records import MetricsLog, make_record, read_metrics


def record(step, student=0, phase="train", **measurements):
    return make_record(
        phase=phase, step=step, epoch=step / 10, student=student, measurements=measurements
    )


def write(path, *records):
    with MetricsLog(path) as log:
        for each in records:
            log.write(each)


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    records = [record(1, loss=1.5), record(1, student="ensemble", phase="test", accuracy=0.5)]
    write(path, *records)
    assert list(read_metrics(path)) == records
    keys = ["time", "phase", "step", "epoch", "student", "loss"]
    assert list(next(read_metrics(path))) == keys


def test_each_line_is_on_disk_at_once(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write(record(1, loss=1.0))
    assert [r["step"] for r in read_metrics(tmp_path / "metrics.jsonl")] == [1]
    log.close()


def test_a_number_that_is_not_finite_becomes_null(tmp_path):
    write(tmp_path / "m", record(1, loss=math.nan, exits={"ce": [math.inf, 0.5]}))
    (read,) = read_metrics(tmp_path / "m")
    assert read["loss"] is None
    assert read["exits"] == {"ce": [None, 0.5]}


def test_a_full_disk_is_complained_of_once():
    """Not again on closing, which would stand in the way of the first complaint."""
    log = MetricsLog(Path("/dev/full"))
    with pytest.raises(OSError, match="No space left"):
        log.write(record(1))
    log.close()


def test_opening_again_appends(tmp_path):
    write(tmp_path / "m", record(1))
    write(tmp_path / "m", record(2))
    assert [r["step"] for r in read_metrics(tmp_path / "m")] == [1, 2]


@pytest.mark.parametrize("torn", [b'{"step": 3, "lo', b'{"step": 3', b"\xff\x00", b"3"])
def test_a_torn_last_line_is_left_out(tmp_path, torn):
    path = tmp_path / "m"
    write(path, record(1), record(2))
    path.write_bytes(path.read_bytes() + torn)
    assert [r["step"] for r in read_metrics(path)] == [1, 2]


class _Growing:
    """A file whose last line was torn when it was read, and whole when it was read on."""

    def open(self, mode):
        return contextlib.nullcontext(iter([b'{"step": 1}\n', b'{"st', b'ep": 2}\n']))


def test_a_line_that_is_completed_while_it_is_read_is_not_damage():
    assert list(read_metrics(_Growing())) == [{"step": 1}]


def test_damage_elsewhere_is_an_error(tmp_path):
    path = tmp_path / "m"
    write(path, record(1))
    path.write_bytes(path.read_bytes() + b'{"step": 2, "lo\n')
    write(path, record(3))
    with pytest.raises(ConfigError, match="line 2 is not a JSON object"):
        list(read_metrics(path))


def test_rewind_drops_later_steps_and_the_torn_line(tmp_path):
    path = tmp_path / "m"
    write(path, *(record(step, student, loss=0.1) for step in (1, 2, 3) for student in (0, 1)))
    before = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(before) + b'{"step": 2, "student": 1, "lo')
    MetricsLog.rewind(path, 2)
    assert path.read_bytes() == b"".join(before[:4])
    write(path, record(3, loss=0.2))
    assert [r["step"] for r in read_metrics(path)] == [1, 1, 2, 2, 3]


def test_rewind_drops_lines_that_are_no_records(tmp_path):
    path = tmp_path / "m"
    write(path, record(1))
    whole = path.read_bytes()
    path.write_bytes(b'{}\n[1]\n{"step": "a"}\n' + whole + b'{"step": null}\n')
    MetricsLog.rewind(path, 2)
    assert path.read_bytes() == whole


def test_rewind_at_the_end_drops_the_evaluation_that_is_made_again(tmp_path):
    path = tmp_path / "m"
    phases = ("train", "test", "validation")
    write(path, *(record(step, phase=phase) for step in (1, 2) for phase in phases))
    MetricsLog.rewind(path, 2, ended=True)
    assert [(r["step"], r["phase"]) for r in read_metrics(path)] == [
        *((1, phase) for phase in phases),
        (2, "train"),
    ]


def test_rewind_keeps_a_whole_last_line_that_lacks_its_newline(tmp_path):
    path = tmp_path / "m"
    write(path, record(1))
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    MetricsLog.rewind(path, 1)
    write(path, record(2))
    assert [r["step"] for r in read_metrics(path)] == [1, 2]


def test_rewind_to_the_beginning_leaves_an_empty_file(tmp_path):
    write(tmp_path / "m", record(1))
    MetricsLog.rewind(tmp_path / "m", 0)
    assert (tmp_path / "m").read_bytes() == b""
