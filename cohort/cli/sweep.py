"""``cohort sweep``: a study from its YAML file, begun or gone on with."""

import argparse
from collections.abc import Sequence

from cohort.cli.parser import Parser, add_trust
from cohort.config import flag
from cohort.invocation import as_argument, command_line


def sweep(argv: Sequence[str]) -> int:
    """Run a study: every setting of a YAML file, with every seed, on Ray Tune."""
    given = _parser().parse_args(argv)

    from cohort.tuning.file.load import load_study
    from cohort.tuning.folder import default_path

    study = load_study(given.study, smoke=given.smoke, trust_code=given.trust_code)

    from cohort.tuning.on_ray.run import (
        run_study,  # after the study, whose mistakes are told at once
    )

    result = run_study(
        study,
        study_dir=given.study_dir or default_path(study.name),
        resume=given.resume,
        address=given.address,
        data_root=given.data_root,
        trust_code=given.trust_code,
        verbose=True,
    )
    if result.interrupted:
        print(f"interrupted; go on with: {_to_resume(given)}")
    elif result.failed:
        print(f"to try the failed trials again: {_to_resume(given)}")
    return result.exit_code


def _to_resume(given: argparse.Namespace) -> str:
    """The command line that goes on with the study."""
    places = {"study_dir": given.study_dir, "address": given.address, "data_root": given.data_root}
    flags = [
        word for key, value in places.items() if value for word in (flag(key), as_argument(value))
    ]
    switches = {"--smoke": given.smoke, "--trust-code": given.trust_code}
    flags += [switch for switch, is_given in switches.items() if is_given]
    return command_line("sweep", as_argument(given.study), "--resume", *flags)


def _parser() -> Parser:
    parser = Parser("sweep", sweep.__doc__, "tune_configs/cohort_size.yaml --smoke")
    parser.add_argument(
        "study",
        metavar="STUDY",
        help="YAML file of a study, such as tune_configs/cohort_size.yaml.",
    )
    parser.add_argument(
        "--smoke", action="store_true", help="Run the small size that the file has under smoke."
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="Go on with the study in --study-dir: finished trials stay, begun ones go on from "
        "their checkpoints.",
    )
    parser.add_argument(
        "--study-dir",
        metavar="DIR",
        help="Folder of this study; must not hold another one. Default: studies/NAME, with NAME that of "
        "the file, and -smoke behind it with --smoke.",
    )
    parser.add_argument(
        "--address",
        metavar="TEXT",
        help="Running Ray cluster to join: auto or host:port. Default: local, a Ray of the study's own.",
    )
    parser.add_argument(
        "--data-root",
        metavar="DIR",
        help="Directory where the data set lies, for all trials. Default: as the study says.",
    )
    add_trust(parser)
    return parser
