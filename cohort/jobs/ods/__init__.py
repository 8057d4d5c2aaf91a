"""ODS distillation: from a deep ensemble to one student that keeps its diversity."""
