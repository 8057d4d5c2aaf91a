"""A network that learns: the learner's step, evaluation, and its state on disk."""
