"""What a person sees of a run: progress on the terminal, records on disk, tables."""
