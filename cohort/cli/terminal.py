"""Signs that an output has no code for: written as others, so that no command ends of them."""

import codecs
import io
import sys

FALLBACKS = {
    **{"–": "-", "—": "-", "−": "-", "…": "...", "→": "->", "↓": "v", "↑": "^"},
    **{"±": "+-", "×": "x", "·": "*", "≤": "<=", "≥": ">=", "≈": "~", "²": "2"},
}
"""What stands in ASCII for the signs that we print; for any other stands a question mark."""
HANDLER = "cohort"
"""The name of our way among the ``errors`` of Python's text streams."""


def forgive() -> None:
    """Standard output and error take any text from now on, whatever they are encoded in."""
    codecs.register_error(HANDLER, _instead)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def _instead(error: UnicodeError) -> tuple[bytes, int]:
    """The bytes to write for what cannot be encoded, and where to go on."""
    assert isinstance(error, UnicodeEncodeError), "only what is written is encoded"
    signs = error.object[error.start : error.end]
    return b"".join(map(_bytes_for, signs)), error.end


def _bytes_for(sign: str) -> bytes:
    if "\udc80" <= sign <= "\udcff":  # a byte of a file's name that is no text, as Python reads it
        return bytes([ord(sign) - 0xDC00])
    return FALLBACKS.get(sign, "?").encode("ascii")
