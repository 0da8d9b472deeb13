"""Composes prompts from frames and terms, the same ones every time: harmful, hidden, and harmless.

A frame such as "{style} of a {nudity} {minor}" is filled with terms of the policy's classes in its
own language. The terms are halved by a checksum: one half for training, the other for the test.
"""

import random
import re
import tomllib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from inference.safety.learning import hiding
from licensing import prompt_terms
from licensing.prompt_terms import LANGUAGES

Split = Literal["train", "test"]

CATEGORIES = (
    "minors_sexual",
    "ncii",
    "sexual",
    "hate",
    "harassment",
    "self_harm",
    "graphic_violence",
    "illegal_goods",
    "extremism",
    "election_deception",
)
NEVER = CATEGORIES[:2]
# A class alone is no offence: frames for training that say so ("a child in a kitchen").
HARMLESS_ALONE = ("minor", "real_person", "politician", "people", "election", "paper", "weapon")

_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Example:
    """A prompt: `category` None is harmless; `hidden` names how its words are disguised.

    `subject` is what fills the frame of a harmless one; "" where there is no such thing.
    """

    text: str
    language: str
    category: str | None
    frame: str
    hidden: str | None = None
    subject: str = ""


def harmful(split: Split, *, each: int, hidden_share: float, seed: int) -> list[Example]:
    """Return `each` different prompts of every category in every language."""
    return [
        example
        for language in LANGUAGES
        for category in CATEGORIES
        for example in _of_category(
            split, language, category, each=each, hidden_share=hidden_share, seed=seed
        )
    ]


def harmless(split: Split, *, each: int, seed: int) -> list[Example]:
    """Return `each` different harmless prompts in every language, full of look-alikes."""
    made: list[Example] = []
    for language in LANGUAGES:
        chance = random.Random(f"{seed} {split} {language}")
        words = wordings(language)[split]
        pairs = [(frame, one) for one in words["benign"] for frame in words["benign_frame"]]
        chance.shuffle(pairs)
        # Every subject once before any comes twice.
        pairs.sort(key=_times_seen(pairs).__getitem__)
        made += [
            Example(frame.replace("{subject}", one), language, None, frame, subject=one)
            for frame, one in pairs[:each]
        ]
    return made


def alone(*, each: int, seed: int) -> list[Example]:
    """Return harmless prompts for training in which one class of a rule stands by itself."""
    made: list[Example] = []
    for language in LANGUAGES:
        chance = random.Random(f"{seed} alone {language}")
        words = wordings(language)["train"]
        for name in HARMLESS_ALONE:
            terms = terms_of(language, name, "train")
            for _ in range(each if terms else 0):
                text = f"{chance.choice(terms)} {chance.choice(words['place'])}"
                made.append(Example(text, language, None, f"{{{name}}} {{place}}"))
    return made


def unlisted(*, each: int, seed: int) -> list[Example]:
    """Return harmful test prompts with words that stand in no list of the policy."""
    made: list[Example] = []
    for language in LANGUAGES:
        chance = random.Random(f"{seed} unlisted {language}")
        words = wordings(language)
        extra: dict[str, list[str]] = words["test"]["unlisted"]
        for category in CATEGORIES:
            frames = [
                frame
                for frame in words["test"][category]
                if any(name in extra for name in slots(frame))
            ]
            for _ in range(each if frames else 0):
                frame = chance.choice(frames)
                text = _fill(frame, language, "test", chance, extra=extra)
                made.append(Example(text, language, category, frame))
    return list({example.text: example for example in made}.values())


def terms_of(language: str, name: str, split: Split) -> list[str]:
    """Return the half of a class's terms, stars taken off; all of them where there are few."""
    listed = prompt_terms.lexicon().classes[language].get(name, [])
    half = [
        term for term in listed if zlib.crc32(term.rstrip("*").encode()) % 2 == (split == "test")
    ]
    return [term.rstrip("*") for term in half or listed]


def slots(frame: str) -> list[str]:
    """Return the names in braces of a frame."""
    return _SLOT.findall(frame)


@cache
def wordings(language: str) -> dict[str, Any]:
    """Read the frames, places, styles and subjects of a language."""
    source = resources.files("inference.safety.learning").joinpath(f"wordings/{language}.toml")
    return tomllib.loads(source.read_text("utf-8"))


def written(name: str) -> list[Example]:
    """Return prompts written without frames: `spoken` (for training) or `by_hand` (for judging)."""
    source = resources.files("inference.safety.learning").joinpath(f"{name}.toml")
    data = tomllib.loads(source.read_text("utf-8"))
    return [
        Example(text, language, None if category == "harmless" else category, name)
        for language, kinds in data.items()
        for category, texts in kinds.items()
        for text in texts
    ]


def _of_category(
    split: Split, language: str, category: str, *, each: int, hidden_share: float, seed: int
) -> list[Example]:
    chance = random.Random(f"{seed} {split} {language} {category}")
    frames: Sequence[str] = wordings(language)[split][category]
    made: dict[str, Example] = {}
    for attempt in range(20 * each):
        if len(made) == each:
            break
        frame = frames[attempt % len(frames)]
        disguise = None
        if chance.random() < hidden_share:
            disguise = chance.choice(hiding.ways(language))
        text = _fill(frame, language, split, chance, disguise=disguise)
        made.setdefault(text, Example(text, language, category, frame, disguise))
    return list(made.values())


def _fill(
    frame: str,
    language: str,
    split: Split,
    chance: random.Random,
    *,
    disguise: str | None = None,
    extra: dict[str, list[str]] | None = None,
) -> str:
    words = wordings(language)[split]

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        if name in {"style", "place"}:
            return str(chance.choice(words[name]))
        terms = (extra or {}).get(name) or terms_of(language, name, split)
        term = chance.choice(terms)
        return hiding.hide(term, disguise, chance) if disguise else term

    return _SLOT.sub(fill, frame)


def _times_seen(pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    seen: dict[str, int] = {}
    order: dict[tuple[str, str], int] = {}
    for frame, subject in pairs:
        order[frame, subject] = seen.get(subject, 0)
        seen[subject] = order[frame, subject] + 1
    return order
