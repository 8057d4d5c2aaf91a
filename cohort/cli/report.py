"""``cohort report``: a page about runs and studies."""

from collections.abc import Sequence

from cohort.cli.parser import Parser
from cohort.errors import SUCCESS


def report(argv: Sequence[str]) -> int:
    """Write a page about runs and studies: curves, tables, differences, what happened."""
    given = vars(_parser().parse_args(argv))

    from cohort.report.options import ReportOptions
    from cohort.report.write import report

    options = ReportOptions(**given | {"folders": tuple(given["folders"])})
    for file in report(options):
        print(file)
    return SUCCESS


def _parser() -> Parser:
    parser = Parser("report", report.__doc__, "runs/mine runs/other --output report.html")
    parser.add_argument(
        "folders",
        metavar="RUN_OR_STUDY",
        nargs="+",
        help="Folder of a run, or its URI, or folder of a study; finished or not.",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        default="report.html",
        help="The page, one file that needs no other. Default: report.html.",
    )
    parser.add_argument(
        "--figures", metavar="DIR", help="Also write its figures here, as SVG, PNG and PDF."
    )
    parser.add_argument(
        "--tables",
        metavar="DIR",
        help="Also write its tables here, as CSV, JSON, Markdown and LaTeX.",
    )
    parser.add_argument(
        "--against",
        metavar="RUN",
        help="Run that the others are compared with. Default: a run's own students alone, if --baseline "
        "trained them; of several runs, the first.",
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="Write it again every 10 s until all has ended, or Ctrl-C; the page then reads itself again.",
    )
    return parser
