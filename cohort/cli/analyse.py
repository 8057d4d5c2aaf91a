"""``cohort analyse``: figures and tables of finished runs."""

import argparse
from collections.abc import Sequence
from dataclasses import fields
from typing import get_type_hints

from cohort.analysis.options import AnalyseOptions, names, numbers
from cohort.cli.parser import Parser, add_flag, field_helps
from cohort.config import flag
from cohort.config_file import validate
from cohort.errors import SUCCESS


def analyse(argv: Sequence[str]) -> int:
    """Analyse finished runs as the papers do: tables and figures."""
    options = _read(argv)

    from cohort.analysis.analyse import analyse

    files, notes = analyse(options)
    for note in notes:
        print(f"note: {note}")
    for file in files:
        print(file)
    return SUCCESS


def _read(argv: Sequence[str]) -> AnalyseOptions:
    given = vars(_parser().parse_args(argv))
    if "analyses" in given:
        given["analyses"] = names(given["analyses"])
    if "sigmas" in given:
        given["sigmas"] = numbers("--sigmas", given["sigmas"])
    return validate(given, AnalyseOptions, {key: flag(key) for key in given}, None)


def _parser() -> Parser:
    example = "runs/mine runs/other --output analysed"
    parser = Parser("analyse", analyse.__doc__, example, argument_default=argparse.SUPPRESS)
    helps, types = field_helps(AnalyseOptions), get_type_hints(AnalyseOptions)
    parser.add_argument("runs", metavar="RUN_DIR", nargs="+", help=helps.pop("runs"))
    parser.add_argument("--output", metavar="DIR", help=helps.pop("output"))
    for field in fields(AnalyseOptions):
        if field.name in helps:
            add_flag(parser, field, types[field.name], helps[field.name])
    return parser
