"""Procedural scenes: what is drawn, where, and the caption; and which combinations are held out.

`sample` draws specifications with true captions (numpy, meant for worker processes), `render` of
`paint` makes pictures of them, `evaluation_prompts` is the fixed list that scores are measured on.
What must hold: no combination for which `held_out_single`, `held_out_tint` or `held_out_pair` says
yes is ever sampled for split "train".  Trainers, `judge` and `evaluate` are the callers.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from inference.training import captions
from inference.training.paint import LAYERS, PATTERNS, Atlas, Flags, Floats, Ints, Scenes, render
from inference.training.subjects import (
    BACKGROUNDS,
    LORA_STYLE,
    PIXEL_STYLE,
    RAW_STYLE_COUNT,
    RELATIONS,
    TINTS,
    subjects,
)

__all__ = ["Atlas", "Labels", "Scenes", "evaluation_prompts", "labels_of", "render", "sample"]

Split = Literal["train", "heldout"]
Kind = Literal["single", "pair", "line"]

# Shares of scenes.  Two-subject scenes are the hard ones and carry two identities each.
PAIR_SHARE, COPIES_SHARE, TINT_SHARE, PATTERN_SHARE = 0.27, 0.06, 0.05, 0.06
SIZE_SHARE, PLACE_SHARE, UNSAID_SHARE, FLIP_SHARE = 0.2, 0.25, 0.06, 0.2
# One in so many of (subject, style, background), (subject, tint) and (pair, relation).
HELD_OUT_ONE_IN = 10
# Rows that break a rule are drawn anew; held-out rows are 1 in 10, so 400 rounds leave none.
MAX_ROUNDS = 400
GROUND_JITTER = 6 / 255
PROMPTS_FILE = Path(__file__).with_name("prompts.json")
_PLACE_XY = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, -1), (-1, 1), (1, 1)])
_RELATION_XY = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)])
_COPIES_XY = {2: ((-1, 0), (1, 0)), 3: ((0, -1), (-1, 1), (1, 1))}
# Sprite sides of one subject by size word, and where two or three stand, in shares of the picture.
_SIDES = np.array([(0.55, 0.80), (0.37, 0.46), (0.82, 0.93)])
_PLACED_SIDES = np.array([(0.44, 0.58), (0.37, 0.44), (0.56, 0.62)])
_SHARED_SIDES, _SHARED_OFFSET = (0.40, 0.46), 0.235


@dataclass(frozen=True)
class Labels:
    """What a picture of a prompt must show; subject2 and relation are -1 for one subject."""

    subject1: int
    subject2: int
    style: int
    background: int
    relation: int


def evaluation_prompts(kind: Kind, count: int) -> list[tuple[str, Labels]]:
    """Return the first `count` prompts of the fixed list; all are held-out combinations.

    "single" and "pair" are in Raw's styles, "line" is one subject in the LoRA's style.

    Raises ValueError if the list is shorter.
    """
    rows = json.loads(PROMPTS_FILE.read_text())[kind]
    if count > len(rows):
        message = f"{PROMPTS_FILE.name} holds {len(rows)} {kind} prompts, not {count}"
        raise ValueError(message)
    return [(text, Labels(*labels)) for text, *labels in rows[:count]]


def sample(
    atlas: Atlas,
    count: int,
    *,
    rng: np.random.Generator,
    split: Split = "train",
    styles: tuple[int, ...] | None = None,
    pair_share: float = PAIR_SHARE,
    plain: bool = False,
) -> Scenes:
    """Draw `count` scenes of the split; `styles` defaults to those that train Raw.

    `plain` leaves out copies, tints, patterns, sizes and places and always says style and
    background: the distribution of the evaluation prompts.
    """
    labels = _draw_labels(rng, count, styles, pair_share, plain=plain)
    wrong = np.flatnonzero(_broken(atlas, labels, split))
    for _ in range(MAX_ROUNDS):
        if not len(wrong):
            break
        fresh = _draw_labels(rng, len(wrong), styles, pair_share, plain=plain)
        # The kind of scene stays, so that rejection does not shift the shares.
        for name, column in fresh.items():
            if name not in {"pair", "count", "relation", "pattern", "size", "place"}:
                labels[name][wrong] = column
        pair = labels["pair"][wrong].astype(bool)
        labels["subject2"][wrong] = np.where(pair, fresh["other"], -1)
        labels["tint"][wrong] = np.where(pair, -1, fresh["tint"])
        wrong = wrong[_broken(atlas, {n: c[wrong] for n, c in labels.items()}, split)]
    if len(wrong):
        message = f"{len(wrong)} scenes found no allowed combination in {MAX_ROUNDS} rounds"
        raise ValueError(message)
    return _finish(rng, labels, plain=plain)


def labels_of(drawn: Scenes) -> list[Labels]:
    """Return what each scene must show, as `judge` wants it."""
    columns = (drawn.subject1, drawn.subject2, drawn.style, drawn.background, drawn.relation)
    return [Labels(*row) for row in np.stack(columns, 1).tolist()]


def held_out_single(subject: Ints, style: Ints, background: Ints) -> Flags:
    """Tell which (subject, style, background) are never trained on."""
    return _one_in(1, subject, style, background)


def held_out_tint(subject: Ints, tint: Ints) -> Flags:
    """Tell which (subject, tint) are never trained on."""
    return _one_in(2, subject, tint, tint)


def held_out_pair(subject1: Ints, subject2: Ints, relation: Ints) -> Flags:
    """Tell which two subjects in which relation are never trained on, said either way round."""
    swap = relation % 2 == 1
    first, second = np.where(swap, subject2, subject1), np.where(swap, subject1, subject2)
    return _one_in(3, first, second, relation // 2)


def _one_in(salt: int, first: Ints, second: Ints, third: Ints) -> Flags:
    """Hash three small integers (splitmix64's finisher) and keep one value in HELD_OUT_ONE_IN."""
    key = np.asarray(((first + 1) * 4096 + second + 1) * 64 + third + 1 + (salt << 40), np.uint64)
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray((key ^ (key >> np.uint64(31))) % np.uint64(HELD_OUT_ONE_IN) == 0)


def _draw_labels(
    rng: np.random.Generator,
    count: int,
    styles: tuple[int, ...] | None,
    pair_share: float,
    *,
    plain: bool,
) -> dict[str, Ints]:
    """Draw every label of every row, before the rules of `_broken`."""
    extra = 0.0 if plain else 1.0
    allowed = np.asarray(styles if styles is not None else range(RAW_STYLE_COUNT))
    kind, chance = rng.random(count), rng.random((count, 4))
    pair = kind < pair_share
    many = ~pair & (kind > 1 - COPIES_SHARE * extra)
    alone = ~pair & ~many
    thing, other = rng.integers(0, len(subjects()), (2, count))
    background = rng.integers(0, len(BACKGROUNDS), count)
    second = (background + rng.integers(1, len(BACKGROUNDS), count)) % len(BACKGROUNDS)
    none = np.full(count, -1)
    return {
        "pair": pair.astype(np.int64),
        "other": other,
        "subject1": thing,
        "subject2": np.where(pair, other, none),
        "style": allowed[rng.integers(0, len(allowed), count)],
        "background": background,
        "background2": second,
        "pattern": _some(rng, chance[:, 0] < PATTERN_SHARE * extra, 1, len(PATTERNS)),
        "relation": np.where(pair, rng.integers(0, len(RELATIONS), count), none),
        "size": _some(rng, alone & (chance[:, 1] < SIZE_SHARE * extra), 1, len(captions.SIZES)),
        "place": _some(rng, alone & (chance[:, 2] < PLACE_SHARE * extra), 1, len(captions.PLACES)),
        "count": np.where(many, rng.integers(2, LAYERS + 1, count), 1),
        "tint": np.where(
            ~pair & (chance[:, 3] < TINT_SHARE * extra), rng.integers(0, len(TINTS), count), none
        ),
    }


def _some(rng: np.random.Generator, chosen: Flags, low: int, high: int) -> Ints:
    return np.where(chosen, rng.integers(low, high, len(chosen)), 0)


def _broken(atlas: Atlas, labels: dict[str, Ints], split: Split) -> Flags:
    """Tell which rows may not be shown: invisible, uncountable, or of the other split."""
    one, two, style = labels["subject1"], labels["subject2"], labels["style"]
    ground, tint, pair = labels["background"], labels["tint"], labels["subject2"] >= 0
    offset = style * len(subjects())
    sprite, partner = offset + one, offset + np.where(pair, two, one)
    second = np.where(labels["pattern"] > 0, labels["background2"], ground)
    countable = np.array([subject.countable for subject in subjects()])
    tint_ground = np.array([_background_named(name) for name, _ in TINTS])
    bad = (one == two) | ((labels["count"] > 1) & ~countable[one])
    bad |= ~atlas.visible[sprite, ground] | ~atlas.visible[partner, ground]
    bad |= ~atlas.visible[sprite, second] | ~atlas.visible[partner, second]
    tinted = tint >= 0
    bad |= tinted & (~atlas.tintable[sprite] | (tint_ground[tint] == ground))
    bad |= tinted & (tint_ground[tint] == second)
    held = np.where(
        pair, held_out_pair(one, two, labels["relation"]), held_out_single(one, style, ground)
    )
    held_tint = tinted & held_out_tint(one, tint)
    held = held | held_tint
    return np.asarray(bad | (held if split == "train" else ~held))


def _background_named(name: str) -> int:
    return [colour.name for colour in BACKGROUNDS].index(name)


def _finish(rng: np.random.Generator, labels: dict[str, Ints], *, plain: bool) -> Scenes:
    """Add geometry, ground colours and words to labels that keep the rules."""
    count = len(labels["style"])
    unsaid = 0.0 if plain else UNSAID_SHARE
    labels = {name: column for name, column in labels.items() if name not in {"pair", "other"}}
    labels["background2"] = np.where(
        labels["pattern"] > 0, labels["background2"], labels["background"]
    )
    says = (rng.random(count) >= unsaid, rng.random(count) >= unsaid)
    says = (says[0], says[1] | (labels["pattern"] > 0))
    palette = np.array([colour.rgb for colour in BACKGROUNDS], np.float32) / 255
    ground = palette[np.stack([labels["background"], labels["background2"]], 1)]
    ground = ground + rng.normal(0, GROUND_JITTER, ground.shape)
    centre, side = _lay_out(rng, labels)
    angle = np.clip(rng.normal(0, 0.06, (count, LAYERS)), -0.15, 0.15)
    # Turned pixels are no pixel art.
    angle[labels["style"] == PIXEL_STYLE] = 0
    return Scenes(
        **labels,
        says_style=says[0],
        says_background=says[1],
        centre=centre,
        side=side,
        angle=angle.astype(np.float32),
        flip=rng.random((count, LAYERS)) < FLIP_SHARE,
        ground=np.clip(ground, 0, 1).astype(np.float32),
        captions=captions.write(rng, labels, says),
    )


def _lay_out(rng: np.random.Generator, labels: dict[str, Ints]) -> tuple[Floats, Floats]:
    """Place up to LAYERS sprites a scene: centres (B, LAYERS, 2) and sides (B, LAYERS)."""
    count = len(labels["style"])
    size, place, copies = labels["size"], labels["place"], labels["count"]
    limits = np.where((place > 0)[:, None], _PLACED_SIDES[size], _SIDES[size])
    alone = (copies == 1) & (labels["subject2"] < 0)
    limits = np.where(alone[:, None], limits, _SHARED_SIDES)
    one = limits[:, 0] + (limits[:, 1] - limits[:, 0]) * rng.random(count)
    side = np.zeros((count, LAYERS))
    side[:, 0] = one
    # Free way from the centre to the edge; a named place uses most of it, else hardly any.
    free = np.maximum((1 - one) / 2 - 0.02, 0)[:, None]
    direction = _PLACE_XY[place]
    jitter = rng.uniform(-1, 1, (count, LAYERS, 2))
    reach = np.where(direction == 0, 0.25 * jitter[:, 0], direction * (0.88 + 0.12 * jitter[:, 0]))
    centre = np.full((count, LAYERS, 2), 0.5)
    centre[:, 0] = 0.5 + free * reach
    for rows, spots in _shared_spots(labels):
        for layer, spot in enumerate(np.moveaxis(spots, 1, 0)):
            centre[rows, layer] = 0.5 + _SHARED_OFFSET * spot + 0.02 * jitter[rows, layer]
            side[rows, layer] = one[rows]
    return centre.astype(np.float32), side.astype(np.float32)


def _shared_spots(labels: dict[str, Ints]) -> list[tuple[Ints, NDArray[np.int64]]]:
    """Rows with two or three sprites, and their unit positions (rows, sprites, 2)."""
    pair = np.flatnonzero(labels["subject2"] >= 0)
    toward = _RELATION_XY[labels["relation"][pair]]
    spots = [(pair, np.stack([toward, -toward], 1))]
    for copies, unit in _COPIES_XY.items():
        rows = np.flatnonzero(labels["count"] == copies)
        spots.append((rows, np.broadcast_to(np.array(unit), (len(rows), copies, 2))))
    return spots


def write_prompts(atlas: Atlas, seed: int = 20261122) -> None:
    """Draw the fixed list anew; scores before and after are then not comparable."""
    raw = tuple(range(RAW_STYLE_COUNT))
    draws = {"single": (1024, raw, 0.0), "pair": (512, raw, 1.0), "line": (512, (LORA_STYLE,), 0.0)}
    rng = np.random.default_rng(seed)
    lines = []
    for kind, (count, styles, share) in draws.items():
        drawn = sample(
            atlas, count, rng=rng, split="heldout", styles=styles, pair_share=share, plain=True
        )
        columns = (drawn.subject1, drawn.subject2, drawn.style, drawn.background, drawn.relation)
        rows = zip(drawn.captions, *(column.tolist() for column in columns), strict=True)
        lines.append(f'"{kind}": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]")
    PROMPTS_FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    write_prompts(Atlas.load(Path("data/pocket"), pixels=False))
