"""A module that visits the card: there for the time of a block, at home in main memory otherwise.

Its tensors at home are kept, so the way back copies nothing, and whatever happens on the card (it
may be out of memory) they are in their places afterwards.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import nn


@contextmanager
def visiting(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Have `module` on `device` within the block; nothing to do for one that lives there.

    What the device was asked to do with it must be done before the block ends.
    """
    tensors = list(chain(module.parameters(), module.buffers()))
    homes = [tensor.data for tensor in tensors if tensor.device.type != device.type]
    if not homes:
        yield
        return
    guests = [tensor for tensor in tensors if tensor.device.type != device.type]
    try:
        for guest, home in zip(guests, homes, strict=True):
            guest.data = home.to(device, non_blocking=True)
        yield
    finally:
        for guest, home in zip(guests, homes, strict=True):
            guest.data = home
