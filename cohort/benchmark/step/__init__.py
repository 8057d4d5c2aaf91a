"""What a step of all students of one process takes: kernel by kernel, captured, and compiled."""
