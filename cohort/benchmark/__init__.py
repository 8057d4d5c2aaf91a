"""What learning costs, measured in turns: exchanges of a cohort, self-distillation, ODS distillation."""
