"""The command ``cohort``: flags to configs, results to tables and exit codes."""
