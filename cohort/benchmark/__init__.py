"""What learning costs, measured in turns: exchanges of a cohort, decoding, methods of distillation."""
