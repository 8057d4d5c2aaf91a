"""Cohorts at work: as Ray actors, and in one process as the actors' oracle."""
