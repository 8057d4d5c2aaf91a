"""The life of a run: its folder, its checkpoints, its records, how it starts, goes on and ends."""
