"""The prompt rules as data: classes of terms, and the combinations that the use policy forbids.

`texts/prompt_rules.toml` holds them; people who know the policy and the languages review that file,
not this one. A term matches whole words, also with letters repeated ("nuuude"); a star at its end
takes any ending. A rule applies when each of its `needs` is met by a term of one of the classes
named there, within `within` words of each other where the rule says so. Pure.
"""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import groupby, product
from typing import Any, Literal

from licensing.prompt_words import fold

LANGUAGES = ("en", "de", "fr", "es")
INSIDE_LETTERS_MIN = 4  # shorter terms are found by chance inside other words


@dataclass(frozen=True)
class Rule:
    """One combination. `needs`: for each place, the patterns of which one must be found."""

    id: str
    category: str
    action: Literal["review", "block"]
    needs: tuple[tuple[re.Pattern[str], ...], ...]
    within: int | None


@dataclass(frozen=True)
class Rules:
    """All rules, the harmless phrases that are read over, and a sentence for each category.

    `vocabulary` finds every longer one-word term inside a run of letters.
    """

    rules: tuple[Rule, ...]
    harmless: re.Pattern[str]
    vocabulary: re.Pattern[str]
    messages: dict[str, str]

    def without_harmless(self, reading: str) -> str:
        """Blank the phrases whose words mean something else together ("baby blue")."""
        return self.harmless.sub("_", reading)

    def terms_inside(self, run: str) -> str:
        """Read a run of letters without gaps as the terms that it holds, if any."""
        return " ".join(self.vocabulary.findall(run))


def applies(rule: Rule, readings: tuple[str, ...]) -> bool:
    """Say whether the readings of one prompt break a rule."""
    if rule.within is None:
        return all(_found_in_any(patterns, readings) for patterns in rule.needs)
    return any(_found_close(rule.needs, reading, rule.within) for reading in readings)


@cache
def load() -> Rules:
    """Read and compile the rules; raises `KeyError` for a class or category that is not there."""
    source = resources.files("licensing").joinpath("texts/prompt_rules.toml").read_text("utf-8")
    data = tomllib.loads(source)
    classes = {name: _compile_class(entry) for name, entry in data["class"].items()}
    messages = dict(data["message"])
    rules = [
        Rule(
            id=entry["id"],
            category=entry["category"],
            action=entry["action"],
            needs=tuple(tuple(classes[name] for name in names) for names in entry["needs"]),
            within=entry.get("within"),
        )
        for entry in data["rule"]
    ]
    assert all(messages[rule.category] for rule in rules)
    return Rules(
        rules=tuple(rules),
        harmless=_compile_class(data["harmless"]),
        vocabulary=_compile_vocabulary(data["class"].values()),
        messages=messages,
    )


def _found_in_any(patterns: tuple[re.Pattern[str], ...], readings: tuple[str, ...]) -> bool:
    return any(pattern.search(reading) for pattern in patterns for reading in readings)


def _found_close(needs: tuple[tuple[re.Pattern[str], ...], ...], reading: str, within: int) -> bool:
    places = [
        [
            reading.count(" ", 0, match.start())
            for pattern in patterns
            for match in pattern.finditer(reading)
        ]
        for patterns in needs
    ]
    return any(max(choice) - min(choice) <= within for choice in product(*places))


def _compile_class(entry: dict[str, Any]) -> re.Pattern[str]:
    parts = [*entry.get("patterns", ()), *(_term_pattern(term) for term in _terms(entry))]
    return re.compile(rf"(?<![^ ])(?:{'|'.join(parts)})(?![^ ])")


def _compile_vocabulary(entries: Iterable[dict[str, Any]]) -> re.Pattern[str]:
    words = {fold(term.rstrip("*")) for entry in entries for term in _terms(entry)}
    inside = [word for word in words if " " not in word and len(word) >= INSIDE_LETTERS_MIN]
    return re.compile("|".join(sorted(inside, key=lambda word: (-len(word), word))))


def _terms(entry: dict[str, Any]) -> list[str]:
    return [term for language in LANGUAGES for term in entry.get(language, ())]


def _term_pattern(term: str) -> str:
    """Match the words of a term, each letter as often as written or more often."""
    return " ".join(_word_pattern(word) for word in term.split())


def _word_pattern(word: str) -> str:
    stem, star = (word[:-1], "[a-z]*") if word.endswith("*") else (word, "")
    letters = fold(stem)
    assert re.fullmatch("[a-z0-9]+", letters), f"{word!r} is not a plain word"
    runs = [(letter, len(list(run))) for letter, run in groupby(letters)]
    return "".join(f"{letter}{{{count},}}" for letter, count in runs) + star
