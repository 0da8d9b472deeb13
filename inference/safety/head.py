"""The trained head of the prompt classifier: from a sentence's vector and letters to its logits.

The vector goes through one layer of hidden units, because a child and a naked body are harmless
apart and not together, which no weighted sum can say; the hashed letters go straight through. The
file lies beside this one, and `inference.safety.learning.train` made it. Loads no torch.
"""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILE = "head.safetensors"
VECTOR = 384  # numbers of the embedding; the letters' come after them

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """The weights, by what they are multiplied with, and the card that says how to read them."""

    hidden: Vectors  # (units, VECTOR)
    hidden_bias: Vectors  # (units,)
    out: Vectors  # (categories, units)
    letters: Vectors  # (categories, hashed n-grams)
    bias: Vectors  # (categories,)
    card: dict[str, Any]

    def logits(self, features: Vectors) -> Vectors:
        """Return how sure the head is of each category, for each row of features."""
        lit = np.maximum(features[:, :VECTOR] @ self.hidden.T + self.hidden_bias, 0)
        said: Vectors = lit @ self.out.T + features[:, VECTOR:] @ self.letters.T + self.bias
        return said


def read_head() -> Head:
    """Read the shipped head."""
    from safetensors import safe_open  # noqa: PLC0415 - the worker's extra

    shipped = resources.files("inference.safety").joinpath(FILE)
    with resources.as_file(shipped) as path, safe_open(str(path), "np") as file:
        card = json.loads(file.metadata()["card"])
        read = {name: file.get_tensor(name).astype(np.float32) for name in _TENSORS}
    return Head(**read, card=card)


def write_head(path: Path, head: Head) -> None:
    """Write a head in half precision, with its card in the file's own metadata."""
    from safetensors.numpy import save_file  # noqa: PLC0415 - as above

    tensors = {name: getattr(head, name).astype(kind) for name, kind in _TENSORS.items()}
    save_file(tensors, str(path), {"card": json.dumps(head.card)})


_TENSORS = {
    "hidden": np.float16,
    "hidden_bias": np.float32,
    "out": np.float16,
    "letters": np.float16,
    "bias": np.float32,
}
