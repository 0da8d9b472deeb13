"""LoRAs that were read, kept in main memory, so that taking one again is a copy to the device."""

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from threading import Lock

import torch

from inference.adapters.plan import Layers
from inference.adapters.refusal import AdapterRefused
from inference.adapters.tensors import Adapter, Factors, read

BYTES_MAX = 4 * 2**30  # 16 LoRAs of rank 32 on every layer of Krea 2, in 16 bits


class KeptAdapters:
    """The LoRAs of one folder for one model; any thread may ask."""

    def __init__(self, folder: Path | None, bytes_max: int = BYTES_MAX) -> None:
        """Files lie in `folder` as `<sha256>.safetensors`; `bytes_max` bounds what is kept."""
        self.folder = folder
        self._bytes_max = bytes_max
        self._kept: OrderedDict[str, Adapter] = OrderedDict()
        self._lock = Lock()

    def get(self, sha256: str, layers: Layers) -> Adapter:
        """The LoRA of that hash for a model of `layers`. Raises AdapterRefused."""
        with self._lock:
            if sha256 in self._kept:
                self._kept.move_to_end(sha256)
                return self._kept[sha256]
            path = None if self.folder is None else self.folder / f"{sha256}.safetensors"
            if path is None or not path.is_file():
                raise AdapterRefused("A LoRA of this picture is no longer there: choose another.")
            adapter = self._kept[sha256] = ready_to_copy(read(path, layers, sha256))
            while len(self._kept) > 1 and self._bytes() > self._bytes_max:
                self._kept.popitem(last=False)
            return adapter

    def clear(self) -> None:
        """Forget everything: another model is loaded."""
        with self._lock:
            self._kept.clear()

    def _bytes(self) -> int:
        return sum(adapter.nbytes for adapter in self._kept.values())


def ready_to_copy(adapter: Adapter) -> Adapter:
    """In memory that a GPU reads by itself, where there is one: twice as fast, and unattended."""
    if not torch.cuda.is_available():
        return adapter
    pinned = {
        layer: Factors(each.down.pin_memory(), each.up.pin_memory(), each.scale)
        for layer, each in adapter.factors.items()
    }
    return replace(adapter, factors=pinned)
