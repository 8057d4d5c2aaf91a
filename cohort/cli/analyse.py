"""``cohort analyse``: figures and tables of finished runs."""

from collections.abc import Sequence
from typing import get_args

from cohort.analysis.options import ANALYSES, AnalyseOptions, names, numbers
from cohort.cli.parser import Parser
from cohort.config import OdsNorm
from cohort.errors import SUCCESS
from cohort.invocation import command_line


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
    analyses, sigmas = given.pop("analyses"), given.pop("sigmas")
    return AnalyseOptions(
        runs=tuple(given.pop("runs")),
        analyses=None if analyses is None else names(analyses),
        sigmas=AnalyseOptions.sigmas if sigmas is None else numbers("--sigmas", sigmas),
        **given,
    )


def _parser() -> Parser:
    parser = Parser("analyse", analyse.__doc__, "runs/mine runs/other --output analysed")
    parser.add_argument("runs", metavar="RUN_DIR", nargs="+", help="Folders of finished runs.")
    parser.add_argument(
        "--output", metavar="DIR", required=True, help="Where figures and tables are written."
    )
    parser.add_argument(
        "--data-root", metavar="DIR", help="Where the data lie now. Default: as then."
    )
    parser.add_argument(
        "--analyses",
        metavar="NAME,…",
        help=f"Of {', '.join(ANALYSES)}. Default: all that a run allows: separability and "
        "early_exit need exits, diversity two students or members, transfer three, jacobian the teachers "
        f"of a run of {command_line('ods-distill')}.",
    )
    parser.add_argument(
        "--sigmas",
        metavar="X,…",
        help="Standard deviations of the weight noise. "
        f"Default: {','.join(f'{sigma:g}' for sigma in AnalyseOptions.sigmas)}.",
    )
    parser.add_argument(
        "--relative",
        action="store_true",
        help="Sigmas are fractions of each weight tensor's root mean square.",
    )
    parser.add_argument(
        "--draws",
        metavar="N",
        type=int,
        default=AnalyseOptions.draws,
        help="Random noises per sigma, and random projections per image of the Jacobians. "
        "Default: %(default)s.",
    )
    parser.add_argument(
        "--eta",
        metavar="X",
        type=float,
        default=AnalyseOptions.eta,
        help="Step size of perturbed inputs, in 1/255 of the pixels' range. Default: %(default)g.",
    )
    parser.add_argument(
        "--tau",
        metavar="X",
        type=float,
        default=AnalyseOptions.tau,
        help="Temperature of the posterior whose gradient perturbs. Default: %(default)g.",
    )
    parser.add_argument(
        "--norm",
        choices=get_args(OdsNorm),
        default=AnalyseOptions.norm,
        help="What is 1 of an ODS step of eta 1: its root mean square over the pixels, or its length. "
        "Default: %(default)s.",
    )
    parser.add_argument(
        "--examples",
        metavar="N",
        type=int,
        default=AnalyseOptions.examples,
        help="Images of a split that an analysis looks at, chosen at random. Default: %(default)s.",
    )
    return parser
