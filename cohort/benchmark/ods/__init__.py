"""What a step of ODS distillation costs."""
