"""What stands where a network is named: a name or a factory, plain, with exits, or with members."""

import re
from collections.abc import Callable
from typing import Any

from cohort.errors import ConfigError
from cohort.with_exits import WithExits
from cohort.with_members import WithMembers

Network = str | Callable[..., Any] | WithExits | WithMembers
"""What stands where a network is named."""

WRITTEN = re.compile(
    r"(?P<name>[^+]+)\+(exits(=(?P<places>[^+/]+(/[^+/]+)*))?|members=(?P<members>[1-9][0-9]{0,3}))"
)


def parse_spec(spec: Network, flag: str) -> Network:
    """The WithExits or WithMembers that a string writes down; anything else as it is.

    Raises ConfigError, naming ``flag``, if something else stands after a plus, a place is empty, or
    there are fewer than two members.
    """
    if not isinstance(spec, str) or "+" not in spec:
        return spec
    match = WRITTEN.fullmatch(spec)
    if match is None or match["members"] == "1":
        raise ConfigError(
            f"{flag} is {spec!r}; exits are written NAME+exits or NAME+exits=PLACE/PLACE/PLACE, and "
            "the members of a batch ensemble NAME+members=M with M from 2 to 9999, not both"
        )
    if match["members"]:
        return WithMembers(match["name"], int(match["members"]))
    return WithExits(match["name"], tuple(match["places"].split("/")) if match["places"] else None)
