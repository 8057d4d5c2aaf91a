"""Export a trained student of a run, or one exit of it alone, for use elsewhere."""

from cohort.cli.parser import SUCCESS, Parser, run_command


def main() -> int:
    """Parse, export, print where it went."""
    parser = Parser(description=__doc__, allow_abbrev=False)
    parser.add_argument("run_dir", metavar="RUN_DIR", help="Folder of a finished run.")
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
    arguments = parser.parse_args()

    from cohort.learning.export import export_exit
    from cohort.run.finished import student_folder

    student = student_folder(arguments.run_dir, arguments.student)
    print(export_exit(student, arguments.exit, arguments.output, arguments.format))
    return SUCCESS


if __name__ == "__main__":
    run_command(main)
