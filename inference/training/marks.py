"""Right or wrong: what the judge saw in pictures against what their prompts asked for.

Pure numpy; `judge.look` makes the verdicts.  The one definition of every accuracy that is printed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from inference.training.scenes import Labels


@dataclass(frozen=True)
class Verdict:
    """What the judge saw, one row a picture."""

    subject: NDArray[np.int64]
    halves: NDArray[np.int64]  # (B, 4): left, right, top, bottom
    style: NDArray[np.int64]
    background: NDArray[np.int64]
    layout: NDArray[np.int64]
    features: NDArray[np.float32]  # (B, FEATURES)


@dataclass(frozen=True)
class Marks:
    """Right or wrong, one row a picture; for two subjects `subject` means both are there."""

    subject: NDArray[np.bool_]
    style: NDArray[np.bool_]
    background: NDArray[np.bool_]
    relation: NDArray[np.bool_]  # False for one-subject rows
    is_pair: NDArray[np.bool_]


def mark(verdict: Verdict, labels: Sequence[Labels]) -> Marks:
    """Compare what was seen with what was asked for."""
    asked = np.array([(x.subject1, x.subject2, x.style, x.background, x.relation) for x in labels])
    one, two, style, background, relation = asked.T
    pair = two >= 0
    upright = relation // 2  # 0 left and right, 1 above and below
    first, second = np.where(relation % 2, two, one), np.where(relation % 2, one, two)
    seen = [verdict.halves[:, 2 * axis : 2 * axis + 2] for axis in (0, 1)]
    both = np.stack([np.stack([first, second], 1), np.stack([second, first], 1)])
    found = np.any([(half == order).all(1) for half in seen for order in both], axis=0)
    rows = np.arange(len(asked))
    sides = verdict.halves.reshape(-1, 2, 2)[rows, np.maximum(upright, 0)]
    placed = (sides == both[0]).all(1) & (verdict.layout == 1 + upright)
    return Marks(
        subject=np.where(pair, found, verdict.subject == one),
        style=verdict.style == style,
        background=verdict.background == background,
        relation=placed & pair,
        is_pair=pair,
    )


def accuracies(marks: Marks) -> dict[str, float]:
    """Shares right; a head that no row asks for is left out."""
    pair = marks.is_pair
    shares = {
        "subject": marks.subject[~pair],
        "pair_subjects": marks.subject[pair],
        "style": marks.style,
        "background": marks.background,
        "relation": marks.relation[pair],
    }
    return {name: round(float(rows.mean()), 4) for name, rows in shares.items() if len(rows)}


def join(verdicts: Iterable[Verdict]) -> Verdict:
    """Put the verdicts of several batches together."""
    pieces = list(verdicts)
    return Verdict(
        **{
            field.name: np.concatenate([getattr(piece, field.name) for piece in pieces])
            for field in fields(Verdict)
        }
    )
