"""``cohort share``: a trained student for others, as a folder or a repository of a hub."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from cohort.cli.parser import Parser, add_trust
from cohort.errors import SUCCESS, ConfigError
from cohort.files import refuse_uri


def share(argv: Sequence[str]) -> int:
    """Share a trained student: weights, a graph that torch alone loads, and a model card."""
    given = _parser().parse_args(argv)
    if given.to is None and given.to_hub is None:
        raise ConfigError("--to or --to-hub is missing; say where the student is to go")
    if given.public and given.to_hub is None:
        raise ConfigError("--public was given without --to-hub; a folder is as public as its place")
    refuse_uri(given.to, "--to")

    from cohort.run import share as sharing
    from cohort.run.hub import check_hub, push

    if given.to_hub is not None:
        check_hub(given.to_hub)
    with tempfile.TemporaryDirectory(prefix="cohort-share-") as temporary:
        folder = sharing.share(
            given.run_dir,
            Path(given.to or temporary),
            student=given.student,
            license=given.license,
            trust_code=given.trust_code,
        )
        if given.to is not None:
            print(folder)
        if given.to_hub is not None:
            print(push(folder, given.to_hub, public=given.public))
    return SUCCESS


def _parser() -> Parser:
    parser = Parser("share", share.__doc__, "runs/mine --to shared --license apache-2.0")
    parser.add_argument("run_dir", metavar="RUN_DIR", help="Folder of a finished run, or its URI.")
    parser.add_argument("--to", metavar="DIR", help="Folder to write; it must be new or empty.")
    parser.add_argument(
        "--to-hub",
        metavar="OWNER/NAME",
        help="New repository of the Hugging Face hub, private unless --public, by the login of `hf auth "
        "login` (needs the extra: pip install 'cohort[hub]').",
    )
    parser.add_argument(
        "--public", action="store_true", help="Everybody can see the repository of --to-hub."
    )
    parser.add_argument(
        "--student",
        type=int,
        metavar="N",
        help="Number of the student. Default: the best by the validation split, where there is one, "
        "else 0; never by the test split.",
    )
    parser.add_argument(
        "--license",
        metavar="ID",
        help="Licence for the card, such as apache-2.0. Default: none is named.",
    )
    add_trust(parser)
    return parser
