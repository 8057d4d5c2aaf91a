"""Figures as they stand in a page: SVG whose text is text, in the page's own colours; and as files."""

import base64
import io
import re
import warnings
from pathlib import Path

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from cohort.analysis.drawing import RUNS
from cohort.files import atomic_write

DOTS_PER_INCH = 200
ENLARGED = 7.5
"""Rem of a page for an inch of a figure, at most: text is then as large as the page's."""
SHOWN = re.compile(r"<svg\b.*</svg>", re.DOTALL)
LEFT_OUT = re.compile(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", re.DOTALL)
"""Who made it; and rules that would count for the whole page."""
SIZE = re.compile(r'(<svg\b[^>]*?) width="[^"]*"')
HEIGHT = re.compile(r'(<svg\b[^>]*?) height="[^"]*"')
NAMED = re.compile(r'(\bid="|href="#|url\(#)')
"""What comes before a name that is known in the whole page."""
COLOURS = {
    **{colour.lower(): f"var(--c{number})" for number, colour in enumerate(RUNS[:-1])},
    "#000000": "currentColor",
    "#666666": "var(--muted)",
    "#ffffff": "var(--paper)",
}
"""Of figures, by those of the page, which differ between light and dark."""


def inline(figure: Figure, number: int, label: str) -> Markup:
    """A figure for the page, its names beginning with its number so that no other has them."""
    text = _svg(figure, salt=str(number)).decode()
    shown = SHOWN.search(text)
    assert shown is not None, "matplotlib writes an SVG"
    svg = HEIGHT.sub(r"\1", SIZE.sub(r"\1", LEFT_OUT.sub("", shown[0]), count=1), count=1)
    svg = NAMED.sub(rf"\g<1>f{number}-", svg)
    for colour, ours in COLOURS.items():
        svg = re.sub(rf"(?<=[: ]){colour}(?=[;\"])", ours, svg)
    width = figure.get_figwidth() * ENLARGED
    head = Markup(
        '<svg role="img" aria-label="{}" fill="currentColor" style="max-width: {:.1f}rem"'
    ).format(label, width)
    return head + Markup(svg.removeprefix("<svg"))  # matplotlib has escaped what it wrote


def as_image(svg: bytes) -> str:
    """The address of an image that somebody else's SVG is: what it might run, is not run in one."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def write_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write SVG with text as text, PNG, and PDF with fonts that a publisher takes."""
    files = [folder / f"{name}.{suffix}" for suffix in ("svg", "png", "pdf")]
    atomic_write(files[0], _svg(figure, salt=name))
    for file in files[1:]:
        content = io.BytesIO()
        kind = file.suffix.removeprefix(".")
        undated = {"CreationDate": None} if kind == "pdf" else {}
        with mpl.rc_context({"pdf.fonttype": 42}), _any_letters():
            figure.savefig(content, format=kind, dpi=DOTS_PER_INCH, metadata=undated)
        atomic_write(file, content.getvalue())
    return files


def _svg(figure: Figure, salt: str) -> bytes:
    content = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}), _any_letters():
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    return content.getvalue()


def _any_letters() -> warnings.catch_warnings:
    """No warning of letters that matplotlib's font lacks, and the reader's may have."""
    return warnings.catch_warnings(action="ignore", category=UserWarning)
