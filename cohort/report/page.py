"""Parts to one HTML page, which needs no network and no script."""

import datetime
import itertools
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cohort.report.sections import Part, Picture
from cohort.report.svg import as_image, inline
from cohort.version import __version__

TEMPLATE, STYLE = "page.html.j2", "page.css"


def render(parts: Sequence[Part], title: str, refresh: int | None = None) -> str:
    """The page as text.

    Args:
        parts: what it shows, in order.
        title: of the window.
        refresh: seconds after which a browser reads it again; None if it will not change.
    """
    numbers = itertools.count()

    def drawn(picture: Picture) -> Markup:
        if picture.figure is not None:
            return inline(picture.figure, next(numbers), picture.title)
        assert picture.svg is not None, "a picture is drawn or read"
        return Markup('<img src="{}" alt="{}">').format(as_image(picture.svg), picture.title)

    environment = _environment()
    style, _, _ = PackageLoader("cohort.report", "templates").get_source(environment, STYLE)
    return environment.get_template(TEMPLATE).render(
        parts=parts,
        title=title,
        refresh=refresh,
        drawn=drawn,
        style=Markup(style),
        version=__version__,
        made=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )


def _environment() -> Environment:
    # Everything that runs say of themselves is text, whatever it looks like.
    options: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True}
    return Environment(
        loader=PackageLoader("cohort.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        **options,
    )
