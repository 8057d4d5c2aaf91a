"""A message between hosts as Ray carries it.

Ray hands small results on within its own messages, where plain bytes need no pickling: that halves
what an exchange costs. Larger ones lie in shared memory, of which an array is read without a copy,
bytes are not.

Shapes: R rows of a message, B batch, W numbers of an example.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cohort.data.source import as_tensor

Letter = bytes | npt.NDArray[Any]

INLINE_BYTES = 100_000
"""What Ray still carries inline; 102 300 bytes it does not."""


def sealed(message: Tensor) -> Letter:
    """A message [R, B, W] to be sent."""
    array: npt.NDArray[Any] = message.cpu().numpy()
    return array.tobytes() if array.nbytes <= INLINE_BYTES else array


def opened(letter: Letter, like: Tensor) -> Tensor:
    """A letter's message, on the CPU; all messages of a step are ``like`` one's own but for R."""
    if isinstance(letter, bytes):
        dtype = np.float16 if like.dtype == torch.float16 else np.float32
        letter = np.frombuffer(letter, dtype).reshape(-1, *like.shape[1:])
    return as_tensor(letter)
