"""Words for scenes: every caption says only what is true of its picture.

Plain string work in one pass over a batch, because trainers want tens of thousands of captions a
second from each worker process.  `scenes.sample` is the caller.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from inference.training.subjects import (
    BACKGROUNDS,
    LORA_STYLE,
    STYLE_NOUNS,
    STYLE_PHRASES,
    TINTS,
    subjects,
)

SIZES = ("", "small", "large")
PLACES = (
    "",
    "on the left",
    "on the right",
    "at the top",
    "at the bottom",
    "in the top left corner",
    "in the top right corner",
    "in the bottom left corner",
    "in the bottom right corner",
)
COUNTS = ("", "", "two", "three")
# Ways to say each of subjects.RELATIONS, and the relation seen from the other subject.
RELATION_PHRASES = (
    ("to the left of", "left of", "on the left of"),
    ("to the right of", "right of", "on the right of"),
    ("above", "over", "above"),
    ("below", "under", "below"),
)
OPPOSITE = (1, 0, 3, 2)
# {what} "a red apple", {ground} "a blue background", {plain} the same without its article,
# {style} "flat style", {noun} "flat illustration".
FULL = (
    "{what}, {style}, on {ground}",
    "{what} on {ground}, {style}",
    "{style}, {what} on {ground}",
    "{style}, {what}, {plain}",
    "{what}, {plain}, {style}",
    "{noun} of {what} on {ground}",
    "{noun}: {what} on {ground}",
    "{what} in front of {ground}, {style}",
    "a picture of {what} on {ground}, {style}",
    "{ground} with {what}, {style}",
    "a simple {noun} of {what}, shown on {ground}",
    "an image of {what} against {ground}, made as {noun}",
)
NO_STYLE = (
    "{what} on {ground}",
    "{what}, {plain}",
    "{ground} with {what}",
    "a picture of {what} on {ground}",
)
NO_GROUND = (
    "{what}, {style}",
    "{noun} of {what}",
    "{style}, {what}",
    "a picture of {what}, {style}",
)
BARE = ("{what}", "a picture of {what}")
# Shares of variations that carry no information of their own.
OWN_COLOUR_SHARE, CAPITAL_SHARE, REVERSED_SHARE = 0.25, 0.12, 0.15

Labels = Mapping[str, NDArray[np.int64]]


def write(
    rng: np.random.Generator, labels: Labels, says: tuple[NDArray[np.bool_], NDArray[np.bool_]]
) -> list[str]:
    """Write one caption a row; `says` tells which rows mention style and background.

    Labels are those of `paint.Scenes`, all (B,).
    """
    count = len(labels["style"])
    names = ("subject1", "subject2", "style", "relation", "size", "place", "count", "tint")
    columns = [labels[name].tolist() for name in names]
    grounds = [labels[name].tolist() for name in ("pattern", "background", "background2")]
    dice = rng.integers(0, 1 << 16, (count, 3)).tolist()
    coins = rng.random((count, 3)).tolist()
    rows = zip(*columns, strict=True)
    return [
        _caption(row, ground, said, die, coin)
        for row, ground, said, die, coin in zip(
            rows,
            zip(*grounds, strict=True),
            zip(says[0].tolist(), says[1].tolist(), strict=True),
            dice,
            coins,
            strict=True,
        )
    ]


def _caption(
    row: tuple[int, ...],
    ground: tuple[int, int, int],
    says: tuple[bool, bool],
    die: list[int],
    coin: list[float],
) -> str:
    first, second, style, relation, size, place, copies, tint = row
    own = coin[0] < OWN_COLOUR_SHARE and style != LORA_STYLE  # ink has no colour
    what = noun(first, copies, size, tint, own=own)
    if second >= 0:
        other = noun(second, 1, 0, -1, own=own)
        if coin[1] < REVERSED_SHARE:
            what, other, relation = other, what, OPPOSITE[relation]
        phrases = RELATION_PHRASES[relation]
        what = f"{what} {phrases[die[1] % len(phrases)]} {other}"
    elif place:
        what = f"{what} {PLACES[place]}"
    forms = (FULL if says[1] else NO_GROUND) if says[0] else (NO_STYLE if says[1] else BARE)
    with_article, plain = background(*ground)
    styles, nouns = STYLE_PHRASES[style], STYLE_NOUNS[style]
    text = forms[die[0] % len(forms)].format(
        what=what,
        ground=with_article,
        plain=plain,
        style=styles[die[2] % len(styles)],
        noun=nouns[die[2] % len(nouns)],
    )
    return f"{text[0].upper()}{text[1:]}." if coin[2] < CAPITAL_SHARE else text


@cache
def noun(subject: int, copies: int, size: int, tint: int, *, own: bool) -> str:
    """Name copies of a subject: "a small blue fox", "two apples", "grapes"."""
    thing = subjects()[subject]
    colour = TINTS[tint][0] if tint >= 0 else (thing.colour or "") if own else ""
    name = thing.plural if copies > 1 else thing.name
    words = " ".join(word for word in (SIZES[size], colour, name) if word)
    if copies > 1:
        return f"{COUNTS[copies]} {words}"
    return f"{article(words)} {words}" if thing.countable else words


@cache
def background(pattern: int, first: int, second: int) -> tuple[str, str]:
    """Name a background with and without its article."""
    one, two = BACKGROUNDS[first].name, BACKGROUNDS[second].name
    plain = (
        f"{one} background",
        f"{one} and {two} striped background",
        f"{one} background with {two} dots",
        f"gradient background from {one} to {two}",
    )[pattern]
    return f"{article(plain)} {plain}", plain


def article(words: str) -> str:
    """Choose "a" or "an" by sound, for the words that occur here."""
    if words.startswith(("hour", "honest")):
        return "an"
    return "an" if words[0] in "aeiou" and not words.startswith("uni") else "a"
