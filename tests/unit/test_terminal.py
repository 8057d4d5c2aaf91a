"""A terminal, or a file, that has no code for a sign."""

import io
import os
import sys

import pytest
from rich.console import Console

from cohort.cli.terminal import FALLBACKS, forgive
from cohort.reporting.table import print_summary

SUMMARY = {
    "status": "finished",
    "steps": 10,
    "students": [{"student": 0, "model": "größe:netz", "test_accuracy": 0.5, "dee": 1}],
    "teachers": [{"size": 2}],
}


@pytest.fixture
def written(monkeypatch):
    """What was written to a standard output and error of this encoding, by encoding."""
    streams = []

    def begin(encoding):
        for name in ("stdout", "stderr"):
            streams.append(io.TextIOWrapper(io.BytesIO(), encoding, write_through=True))
            monkeypatch.setattr(sys, name, streams[-1])
        forgive()

        def bytes_of():
            return b"".join(stream.buffer.getvalue() for stream in streams)

        return bytes_of

    return begin


def test_ascii_gets_other_signs(written):
    bytes_of = written("ascii")
    print("0 … 1 ± 2 ≤ 3 – größer", file=sys.stderr)
    assert bytes_of() == b"0 ... 1 +- 2 <= 3 - gr??er\n"
    print_summary(Console(), SUMMARY)
    lines = bytes_of().decode("ascii").splitlines()
    assert any("gr??e:netz" in line and "<=1" in line for line in lines)
    assert "?" not in "".join(lines).replace("gr??e", "")  # the table is drawn in ASCII


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_name_that_is_no_text_comes_out_as_its_bytes(written, encoding):
    bytes_of = written(encoding)
    print(b"runs/gr\xf6\xdfe".decode("utf-8", "surrogateescape"))
    assert bytes_of() == b"runs/gr\xf6\xdfe\n"


def test_what_can_be_encoded_stays(written):
    bytes_of = written("utf-8")
    print(text := "".join(FALLBACKS))
    assert bytes_of().decode() == f"{text}\n"


def test_fallbacks_are_ascii():
    assert "".join(FALLBACKS.values()).isascii()


@pytest.mark.parametrize("buffer", [io.BufferedWriter, lambda raw: raw])
def test_a_reader_that_has_gone_ends_nothing(monkeypatch, buffer):
    """As ``cohort train … | head`` would: rich ends the process where a pipe breaks."""
    ours, theirs = os.pipe()
    for name in ("stdout", "stderr"):
        raw = io.FileIO(theirs, "w", closefd=False)
        stream = io.TextIOWrapper(buffer(raw), write_through=buffer is not io.BufferedWriter)
        monkeypatch.setattr(sys, name, stream)
    forgive()
    print("heard", flush=True)
    assert os.read(ours, 100) == b"heard\n"
    os.close(ours)
    print_summary(Console(), SUMMARY)
    for file in (sys.stdout, sys.stderr):
        print("said into the air", file=file, flush=True)
    os.close(theirs)
