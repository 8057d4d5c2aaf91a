"""What a step of self-distillation costs."""
