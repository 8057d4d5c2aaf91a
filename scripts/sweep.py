"""Run a study: every setting in a YAML file, with every seed, on Ray Tune; a table and a figure."""

from cohort.cli.parser import Parser, run_command
from cohort.tuning.options import SweepOptions


def main() -> int:
    """Parse, run the study or go on with it, say where its results lie."""
    options = SweepOptions(**vars(make_parser().parse_args()))

    from cohort.tuning.file.load import load_study
    from cohort.tuning.folder import default_path

    study = load_study(options.study, smoke=options.smoke)

    from cohort.tuning.on_ray.run import (
        run_study,  # after the study, whose mistakes are told at once
    )

    result = run_study(
        study,
        study_dir=options.study_dir or default_path(study.name),
        resume=options.resume,
        address=options.address,
        data_root=options.data_root,
        verbose=True,
    )
    if result.interrupted:
        print(f"interrupted; go on with: {options.to_resume}")
    elif result.failed:
        print(f"to try the failed trials again: {options.to_resume}")
    return result.exit_code


def make_parser() -> Parser:
    """The flags."""
    parser = Parser(description=__doc__, allow_abbrev=False)
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
    return parser


if __name__ == "__main__":
    run_command(main)
