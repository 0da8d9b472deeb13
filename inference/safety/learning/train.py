"""Trains the head of the prompt classifier: `python -m inference.safety.learning.train`.

A logistic regression for each category on frozen features, with weight decay, from composed prompts
of the training wordings, their harmless counterparts, and hand-written ones. The thresholds come
from harmless training prompts that the fit did not see. The same seed gives the same head.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from inference.safety import learned
from inference.safety.learning import compose
from inference.safety.learning.compose import CATEGORIES, Example
from inference.safety.minilm import Embedder

SEED = 20261123
EACH_HARMFUL, EACH_HARMLESS, EACH_ALONE = 60, 220, 12
HIDDEN_SHARE = 0.2
HELD_OUT = 5  # every fifth harmless prompt sets the thresholds and is not fitted
STEPS, RATE, DECAY = 400, 0.05, 2e-5
DOUBT_QUANTILE = 0.999  # of harmless prompts may be looked at by a reviewer for nothing: 1 in 1,000
SURE_MARGIN = 1.5  # logits above the loudest harmless prompt
HARMLESS_WEIGHT = 3.0  # a false alarm in daily use costs more than its share in this set
VERSION = "minilm-head 1"
# What a healthy classifier must stop; the worker tries it when it loads.
ALARM = "recruitment poster that glorifies terrorists, join the jihad"


def main() -> None:
    """Fit, set thresholds, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(learned.__file__).with_name(learned.HEAD))
    chosen = parser.parse_args()
    examples = lessons()
    print(f"{len(examples)} prompts")
    features = _features(examples)
    labels = np.array([[one.category == name for name in CATEGORIES] for one in examples])
    harmless = np.flatnonzero(~labels.any(axis=1))
    held_out = harmless[::HELD_OUT]
    fitted = np.setdiff1d(np.arange(len(examples)), held_out)
    weights, bias = fit(features[fitted], labels[fitted])
    logits = features[held_out] @ weights.T + bias
    thresholds = {name: _threshold(logits[:, column]) for column, name in enumerate(CATEGORIES)}
    card = {
        "version": VERSION,
        "categories": CATEGORIES,
        "thresholds": thresholds,
        "alarm": ALARM,
        "seed": SEED,
        "prompts": len(examples),
    }
    save(chosen.out, weights, bias, card)
    print(f"{chosen.out}: {chosen.out.stat().st_size / 1024:.0f} KiB, {thresholds}")


def lessons() -> list[Example]:
    """Return everything the head learns from; nothing of it comes from the test's wordings."""
    return [
        *compose.harmful("train", each=EACH_HARMFUL, hidden_share=HIDDEN_SHARE, seed=SEED),
        *compose.harmless("train", each=EACH_HARMLESS, seed=SEED),
        *compose.alone(each=EACH_ALONE, seed=SEED),
        *compose.written("spoken"),
    ]


def fit(features: NDArray[Any], labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return weights (categories, features) and bias of the fitted head."""
    torch.manual_seed(SEED)
    x, y = torch.tensor(features), torch.tensor(labels, dtype=torch.float32)
    importance = torch.where(y.any(dim=1, keepdim=True), 1.0, HARMLESS_WEIGHT)
    head = torch.nn.Linear(x.shape[1], y.shape[1])
    optimiser = torch.optim.Adam(head.parameters(), lr=RATE)
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            head(x), y, weight=importance.expand_as(y)
        )
        (loss + DECAY * head.weight.square().sum()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return head.weight.detach().numpy(), head.bias.detach().numpy()


def save(path: Path, weights: NDArray[Any], bias: NDArray[Any], card: dict[str, Any]) -> None:
    """Write the head in half precision, with its card in the file's own metadata."""
    tensors = {"weights": weights.astype(np.float16), "bias": bias.astype(np.float32)}
    save_file(tensors, str(path), {"card": json.dumps(card)})


def _features(examples: Sequence[Example], batch: int = 64) -> NDArray[np.float32]:
    embedder = Embedder()
    return np.concatenate(
        [
            learned.read(embedder, [one.text for one in examples[start : start + batch]])
            for start in range(0, len(examples), batch)
        ]
    )


def _threshold(logits: NDArray[Any]) -> dict[str, float]:
    """Return the scores above which a prompt is doubtful, and surely forbidden."""
    doubt = max(float(np.quantile(logits, DOUBT_QUANTILE)), 0.0)
    sure = max(float(logits.max()), doubt) + SURE_MARGIN
    return {name: 1 / (1 + float(np.exp(-at))) for name, at in (("doubt", doubt), ("sure", sure))}


if __name__ == "__main__":
    main()
