"""What it costs to decode pictures once for all students, and once for each."""
