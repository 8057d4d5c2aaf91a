"""Ray Train jobs: one student, learned by data-parallel workers."""
