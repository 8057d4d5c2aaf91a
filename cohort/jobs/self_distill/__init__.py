"""Self-distillation, and the methods that it is compared with."""
