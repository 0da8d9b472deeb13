"""Trains the head of the prompt classifier: `python -m inference.safety.learning.train`.

A logistic regression for each category on frozen features, with weight decay, from composed prompts
of the training wordings, their harmless counterparts, and hand-written ones. A threshold is the
loudest answer to a harmless prompt by heads that had seen neither its subject nor its frame, for
each script by itself: the letters of a script that the embedding cannot read are all a head has
there, and an unknown word says more or less by chance. The same seed gives the same head.
"""

import argparse
import json
import zlib
from collections.abc import Iterator, Sequence
from itertools import product
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
EACH_HARMFUL, EACH_HARMLESS, EACH_ALONE = 60, 500, 12
HIDDEN_SHARE = 0.2
FOLDS = 4  # of the subjects, and of the frames: as many heads as pairs of these set the thresholds
STEPS, RATE, DECAY = 400, 0.05, 2e-5
SURE_MARGIN = 1.5  # logits above the loudest harmless prompt
HARMLESS_WEIGHT = 3.0  # a false alarm in daily use costs more than its share in this set
VERSION = "minilm-head 2"
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
    thresholds = set_thresholds(examples, features, labels)
    weights, bias = fit(features, labels)
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


def set_thresholds(
    examples: Sequence[Example], features: NDArray[Any], labels: NDArray[Any]
) -> dict[str, dict[str, dict[str, float]]]:
    """Return, by script and category, the scores of doubt and of certainty."""
    loudest = {
        script: np.zeros(len(CATEGORIES)) for script in learned.SCRIPTS
    }  # a score below one half is no doubt, however quiet the harmless prompts were
    scripts = np.array([learned.script_of(one.text) for one in examples])
    for fitted, unseen in folds(examples):
        weights, bias = fit(features[fitted], labels[fitted])
        logits = features[unseen] @ weights.T + bias
        for script in learned.SCRIPTS:
            of_script = logits[scripts[unseen] == script]
            loudest[script] = np.vstack([loudest[script], of_script]).max(axis=0)
    return {
        script: {
            name: {"doubt": _score(at), "sure": _score(at + SURE_MARGIN)}
            for name, at in zip(CATEGORIES, logits, strict=True)
        }
        for script, logits in loudest.items()
    }


def folds(examples: Sequence[Example]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield which examples to fit, and harmless ones whose subject and frame were not among them.

    What has no subject is told apart by its text, and all harmful examples are always fitted.
    """
    harmless = np.array([one.category is None for one in examples])
    subject = np.array([_fold(one.subject or one.text) for one in examples])
    frame = np.array([_fold(f"{one.language} {one.frame}") for one in examples])
    composed = np.array([bool(one.subject) for one in examples])
    for of_subject, of_frame in product(range(FOLDS), repeat=2):
        held_out = harmless & ((subject == of_subject) | (composed & (frame == of_frame)))
        unseen = harmless & (subject == of_subject) & (~composed | (frame == of_frame))
        yield np.flatnonzero(~held_out), np.flatnonzero(unseen)


def save(path: Path, weights: NDArray[Any], bias: NDArray[Any], card: dict[str, Any]) -> None:
    """Write the head in half precision, with its card in the file's own metadata."""
    tensors = {"weights": weights.astype(np.float16), "bias": bias.astype(np.float32)}
    save_file(tensors, str(path), {"card": json.dumps(card)})


def _fold(name: str) -> int:
    return zlib.crc32(name.encode()) % FOLDS


def _score(logit: float) -> float:
    return 1 / (1 + float(np.exp(-logit)))


def _features(examples: Sequence[Example], batch: int = 64) -> NDArray[np.float32]:
    embedder = Embedder()
    return np.concatenate(
        [
            learned.read(embedder, [one.text for one in examples[start : start + batch]])
            for start in range(0, len(examples), batch)
        ]
    )


if __name__ == "__main__":
    main()
