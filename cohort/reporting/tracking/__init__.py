"""Trackers that are sent what ``metrics.jsonl`` has, under the same names: a file each."""
