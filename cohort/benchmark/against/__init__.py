"""What a step costs here, and in public packages that do the same in one process."""
