"""What a network with exits gives in training. Shapes: B batch, C classes, F features, E exits."""

from typing import NamedTuple

from torch import Tensor


class ExitOutputs(NamedTuple):
    """Logits and features of every exit, shallowest first."""

    logits: tuple[Tensor, ...]
    """E x [B, C]."""
    features: tuple[Tensor, ...]
    """E x [B, F], what each exit's classifier reads."""
