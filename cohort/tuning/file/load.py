"""The file of a study: read, checked, and written again. Imports neither torch nor ray."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from cohort import formats
from cohort.config_file import names_of, read_keys
from cohort.errors import ConfigError
from cohort.trust import code_below, refuse_code
from cohort.tuning.axes import Axis, written_axis
from cohort.tuning.file.check import check_study
from cohort.tuning.file.reading import Place, as_meant, check_keys, read_study
from cohort.tuning.file.smoke import with_smoke
from cohort.tuning.study import PreparedRun, Study

KEYS = tuple(name for name in names_of(Study) if name != "name")


def load_study(path: str | Path, *, smoke: bool = False, trust_code: bool = False) -> Study:
    """A study from its YAML file, called like the file; ``smoke`` applies the section of that name.

    Raises:
        ConfigError: naming the file and the key path, if anything in it cannot be done, or it names
            code, ``package.module:function``, and ``trust_code`` is not said.
    """
    place = Place(str(path))
    document = as_meant(read_keys(path, str(path), formats.STUDY), place)
    changes = document.pop("smoke", {})
    check_keys(document, (*KEYS, "smoke"), place)
    check_keys(changes, KEYS, place.at("smoke"))
    name = Path(path).stem
    if smoke:
        if not changes:
            raise ConfigError(f"{path} has no smoke size; write one under the key 'smoke'")
        document, name = with_smoke(document, changes), f"{name}-smoke"
    if isinstance(report := document.setdefault("report", {}), dict):
        report.setdefault("metrics", [document.get("metric")])
    study = read_study({**document, "name": name}, place)
    check_study(study, place)
    for code in code_in_study(study):
        refuse_code(place, code, trust_code, instead="leave it out")
    return study


def code_in_study(study: Study) -> Iterator[str]:
    """The functions, ``package.module:function``, that a study names."""
    return code_below(_plain(study))


def to_yaml(study: Study) -> str:
    """The YAML text of a study, from which ``load_study`` reads the same, but for its name."""
    values = _plain(study)
    del values["name"]
    return yaml.safe_dump({formats.KEY: formats.STUDY, **values}, sort_keys=False)


def _plain(value: Any) -> Any:
    """A part of a study as it stands in YAML; keys of sections that are None are left out."""
    if isinstance(value, Axis):
        return _plain(written_axis(value))
    if isinstance(value, PreparedRun):
        return {"command": value.command, **_plain(value.values)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = ((name, getattr(value, name)) for name in names_of(type(value)))
        return {name: _plain(item) for name, item in items if item is not None}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
