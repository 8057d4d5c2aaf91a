"""``cohort export``: a student, or one exit of it, as a file for elsewhere."""

from collections.abc import Sequence

from cohort.cli.parser import Parser, add_trust
from cohort.errors import SUCCESS


def export(argv: Sequence[str]) -> int:
    """Export a trained student of a run, or one exit of it, for use elsewhere."""
    given = _parser().parse_args(argv)

    from cohort.learning.export import export_exit
    from cohort.run.finished import student_folder

    student = student_folder(given.run_dir, given.student)
    trust = given.trust_code
    print(export_exit(student, given.exit, given.output, given.format, trust_code=trust))
    return SUCCESS


def _parser() -> Parser:
    parser = Parser("export", export.__doc__, "runs/mine --format onnx --output exported")
    parser.add_argument("run_dir", metavar="RUN_DIR", help="Folder of a finished run, or its URI.")
    parser.add_argument(
        "--exit",
        type=int,
        metavar="N",
        help="Number of the exit, 1 the shallowest. Default: the deepest; leave it out for a student "
        "without exits.",
    )
    parser.add_argument(
        "--format",
        required=True,
        metavar="{safetensors,torch_export,onnx}",
        help="safetensors for load_student, torch_export for torch.export.load, or onnx (needs the "
        "extra: pip install 'cohort[export]').",
    )
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="Folder to write; it must be new or empty."
    )
    parser.add_argument(
        "--student", type=int, default=0, metavar="K", help="Number of the student. Default: 0."
    )
    add_trust(parser)
    return parser
