"""What learning costs, measured in turns: exchanges of a cohort, decoding, methods, other packages."""
