"""``python -m cohort``, for where the command ``cohort`` is not on the path."""

from cohort.cli.main import main

if __name__ == "__main__":
    main()
