"""Outputs that no command ends of: signs that they have no code for, and readers that have gone."""

import codecs
import io
import os
import sys
from typing import Any

FALLBACKS = {
    **{"–": "-", "—": "-", "−": "-", "…": "...", "→": "->", "↓": "v", "↑": "^"},
    **{"±": "+-", "×": "x", "·": "*", "≤": "<=", "≥": ">=", "≈": "~", "²": "2"},
}
"""What stands in ASCII for the signs that we print; for any other stands a question mark."""
HANDLER = "cohort"
"""The name of our way among the ``errors`` of Python's text streams."""


class Forgiving(io.FileIO):
    """A file, such as the pipe to ``head``, whose reader may go: what is written then, nobody gets."""

    def write(self, data: Any, /) -> int:
        """As any file's."""
        try:
            return super().write(data)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return super().write(data)


def forgive() -> None:
    """Standard output and error take any text from now on, whether anybody reads it or not."""
    codecs.register_error(HANDLER, _instead)
    sys.stdout, sys.stderr = _forgiving(sys.stdout), _forgiving(sys.stderr)


def _forgiving(stream: Any) -> Any:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.reconfigure(errors=HANDLER)
    raw = getattr(stream.buffer, "raw", stream.buffer)  # itself with PYTHONUNBUFFERED
    if type(stream) is not io.TextIOWrapper or not isinstance(raw, io.FileIO):
        return stream
    stream.flush()
    forgiving: Any = Forgiving(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        forgiving if raw is stream.buffer else io.BufferedWriter(forgiving),
        encoding=stream.encoding,
        errors=HANDLER,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _instead(error: UnicodeError) -> tuple[bytes, int]:
    """The bytes to write for what cannot be encoded, and where to go on."""
    assert isinstance(error, UnicodeEncodeError), "only what is written is encoded"
    signs = error.object[error.start : error.end]
    return b"".join(map(_bytes_for, signs)), error.end


def _bytes_for(sign: str) -> bytes:
    if "\udc80" <= sign <= "\udcff":  # a byte of a file's name that is no text, as Python reads it
        return bytes([ord(sign) - 0xDC00])
    return FALLBACKS.get(sign, "?").encode("ascii")
