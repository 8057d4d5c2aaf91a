"""Datasets by name, and the batch that every student can recompute from (seed, step)."""
