"""Trains the head of the prompt classifier: `python -m inference.safety.learning.train`.

One small network a category and member, on frozen features, with dropout and weight decay, from
composed prompts of the training wordings, their harmless counterparts, and hand-written ones. The
members differ in how they began; the shipped head is their mean. The same seed gives the same head.

What was decided, and from what: layer, weights and decays below are those that caught most when one
half of the training wordings (subjects, frames, terms) judged heads fitted to the other half, at
0.7 % false alarms. A layer of hidden units raised what the classifier alone caught there from 76 to
87 %, and of the hand-written prompts from 66 to 68 %; weighing the harmless 24 times instead of 3
times, to 93 and 73 %. For the thresholds see `thresholds`. The test chose none of it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inference.safety import head, learned
from inference.safety.head import VECTOR, Head, Vectors
from inference.safety.learning import compose, thresholds
from inference.safety.learning.compose import CATEGORIES, Example
from inference.safety.minilm import Embedder

SEED = 20261123
EACH_HARMFUL, EACH_HARMLESS, EACH_ALONE = 100, 1300, 12
HIDDEN_SHARE = 0.2  # of the prompts whose words are disguised
MEMBERS, UNITS = 3, 64
EPOCHS, BATCH, RATE = 25, 256, 3e-3
DROPOUT = 0.3
DECAY, DECAY_LETTERS = 1e-4, 2e-4
SCALE, SCALE_LETTERS = 4.0, 5.0  # features are of length 1: so that one rate suits every weight
HARMLESS_WEIGHT = 24.0  # of one harmless prompt in the loss; it is taken out of the scores again
RARE = -3.0  # the logit at which a category begins
VERSION = "minilm-head 3"
# What a healthy classifier must stop; the worker tries it when it loads.
ALARM = "recruitment poster that glorifies terrorists, join the jihad"


def main() -> None:
    """Fit, set thresholds, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(head.__file__).with_name(head.FILE))
    chosen = parser.parse_args()
    examples = lessons()
    print(f"{len(examples)} prompts")
    features = read(examples)
    labels = np.array([[one.category == name for name in CATEGORIES] for one in examples])
    bars = thresholds.set_all(examples, features, labels, fit)
    card = {
        "version": VERSION,
        "categories": CATEGORIES,
        "thresholds": bars,
        "alarm": ALARM,
        "seed": SEED,
        "prompts": len(examples),
    }
    head.write_head(chosen.out, fit(features, labels, card))
    print(f"{chosen.out}: {chosen.out.stat().st_size / 1024:.0f} KiB, {bars}")


def lessons() -> list[Example]:
    """Return everything the head learns from; nothing of it comes from the test's wordings."""
    return [
        *compose.harmful("train", each=EACH_HARMFUL, hidden_share=HIDDEN_SHARE, seed=SEED),
        *compose.harmless("train", each=EACH_HARMLESS, seed=SEED),
        *compose.alone(each=EACH_ALONE, seed=SEED),
        *compose.written("spoken"),
    ]


def read(examples: Sequence[Example], batch: int = 64) -> Vectors:
    """Return the features of every example."""
    embedder = Embedder()
    return np.concatenate(
        [
            learned.read(embedder, [one.text for one in examples[start : start + batch]])
            for start in range(0, len(examples), batch)
        ]
    )


def fit(
    features: Vectors, labels: NDArray[np.bool_], card: dict[str, object] | None = None
) -> Head:
    """Return the mean of the fitted members, as one head."""
    members = [_member(features, labels, SEED + number) for number in range(MEMBERS)]
    bias: Vectors = np.mean([one.bias for one in members], axis=0, dtype=np.float32)
    # Without the weight, every score would be that much lower than what it is a score of.
    bias += np.float32(np.log(HARMLESS_WEIGHT))
    return Head(
        hidden=np.concatenate([one.hidden for one in members]),
        hidden_bias=np.concatenate([one.hidden_bias for one in members]),
        out=np.concatenate([one.out / np.float32(MEMBERS) for one in members], axis=1),
        letters=np.mean([one.letters for one in members], axis=0, dtype=np.float32),
        bias=bias,
        card=card or {},
    )


def _member(features: Vectors, labels: NDArray[np.bool_], seed: int) -> Head:
    torch.manual_seed(seed)
    x, y = torch.tensor(features), torch.tensor(labels, dtype=torch.float32)
    vectors, letters = x[:, :VECTOR] * SCALE, x[:, VECTOR:] * SCALE_LETTERS
    importance = torch.where(y.any(dim=1, keepdim=True), 1.0, HARMLESS_WEIGHT).expand_as(y)
    hidden, out = torch.nn.Linear(VECTOR, UNITS), torch.nn.Linear(UNITS, y.shape[1])
    straight = torch.nn.Linear(letters.shape[1], y.shape[1], bias=False)
    torch.nn.init.zeros_(straight.weight)
    torch.nn.init.constant_(out.bias, RARE)
    weights = [*hidden.parameters(), *out.parameters(), *straight.parameters()]
    optimiser = torch.optim.Adam(weights, lr=RATE)
    steps = EPOCHS * -(-len(x) // BATCH)
    slowing = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, steps)
    for _ in range(EPOCHS):
        for rows in torch.split(torch.randperm(len(x)), BATCH):
            lit = torch.nn.functional.dropout(torch.relu(hidden(vectors[rows])), DROPOUT)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                out(lit) + straight(letters[rows]), y[rows], weight=importance[rows]
            )
            loss += DECAY * (hidden.weight.square().sum() + out.weight.square().sum())
            loss += DECAY_LETTERS * SCALE_LETTERS**2 * straight.weight.square().sum()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            slowing.step()
    return Head(
        hidden=hidden.weight.detach().numpy() * np.float32(SCALE),
        hidden_bias=hidden.bias.detach().numpy(),
        out=out.weight.detach().numpy(),
        letters=straight.weight.detach().numpy() * np.float32(SCALE_LETTERS),
        bias=out.bias.detach().numpy(),
        card={},
    )


if __name__ == "__main__":
    main()
