"""The prompt rules: the combinations of terms that the use policy forbids, and what follows.

`texts/policy/rules.toml` holds them and says how to read them; people who know the policy review
that file, not this one. `judge` is pure: it reads a prompt in every way that a person could
(`prompt_words`), finds the terms (`prompt_terms`) and returns the strictest rule that applies.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

from licensing import prompt_pieces, prompt_terms, prompt_words
from licensing.prompt_terms import Found

Action = Literal["label", "review", "block"]

STRICTNESS: Mapping[str, int] = {"allow": 0, "label": 1, "review": 2, "block": 3}


@dataclass(frozen=True)
class Category:
    """A part of the policy: its name, the sentence for a refused person, and its actions.

    `floor` is the mildest action of its rules; `learned` what a sure learned classifier leads to
    (None: it does not judge this category); `tighten` what a stricter setting reaches.
    """

    id: str
    name: str
    message: str
    floor: Action
    learned: Action | None
    tighten: str


@dataclass(frozen=True)
class Rule:
    """One combination. `needs`: for each place, the classes of which a term must be found."""

    id: str
    category: str
    action: Action
    needs: tuple[frozenset[str], ...]
    within: int | None
    ordered: bool
    unless: frozenset[str]


@dataclass(frozen=True)
class Rules:
    """All rules and categories."""

    rules: tuple[Rule, ...]
    categories: dict[str, Category]

    @property
    def messages(self) -> dict[str, str]:
        """The sentence of each category."""
        return {category.id: category.message for category in self.categories.values()}


def judge(prompt: str, tightened: Mapping[str, Action]) -> tuple[Rule, Action] | None:
    """Return the rule that decides and what follows; None if no rule applies.

    `tightened` holds the stricter actions of an organisation, by category.
    """
    readings = find_terms(prompt)
    verdict: tuple[Rule, Action] | None = None
    for rule in load().rules:
        action = stricter(rule.action, tightened.get(rule.category))
        if verdict is not None and STRICTNESS[action] <= STRICTNESS[verdict[1]]:
            continue
        if _applies(rule, readings):
            verdict = rule, action
    return verdict


def find_terms(prompt: str) -> list[list[Found]]:
    """Return the terms in each reading of a prompt."""
    lexicon = prompt_terms.lexicon()
    plain = prompt_words.readings(prompt)
    hidden = [lexicon.inside(run) for run in prompt_words.spelled(prompt)]
    hidden.append(prompt_words.unmasked(prompt, lexicon.unmasked))
    opened = [lexicon.opened(reading) for reading in plain]
    seen = [lexicon.untwinned(reading) for reading in plain]
    cut = [prompt_pieces.glued(reading, lexicon.vocabulary) for reading in plain]
    turned = prompt_pieces.backwards(plain[0], lexicon.vocabulary)
    every = dict.fromkeys([*plain, *opened, *seen, *cut, *turned, *hidden])
    return [lexicon.find(reading) for reading in every]


def stricter(one: Action, other: Action | None) -> Action:
    """Return the stricter of two actions."""
    return other if other is not None and STRICTNESS[other] > STRICTNESS[one] else one


@cache
def load() -> Rules:
    """Read the rules; raises `KeyError` or `ValueError` for a class or category not there."""
    source = resources.files("licensing").joinpath("texts/policy/rules.toml").read_text("utf-8")
    data = tomllib.loads(source)
    known = {name for entry in prompt_terms.lexicon().classes.values() for name in entry}
    rules = tuple(
        Rule(
            id=entry["id"],
            category=entry["category"],
            action=entry["action"],
            needs=tuple(frozenset(names) for names in entry["needs"]),
            within=entry.get("within"),
            ordered=entry.get("ordered", False),
            unless=frozenset(entry.get("unless", ())),
        )
        for entry in data["rule"]
    )
    missing = {name for rule in rules for names in rule.needs for name in names} - known
    if missing:
        raise ValueError(f"No term belongs to these classes of the rules: {sorted(missing)}.")
    categories = {
        name: Category(
            id=name,
            name=entry["name"],
            message=entry["message"],
            floor=min((r.action for r in rules if r.category == name), key=STRICTNESS.__getitem__),
            learned=entry.get("learned"),
            tighten=entry.get("tighten", ""),
        )
        for name, entry in data["category"].items()
    }
    if {rule.category for rule in rules} != set(categories):
        raise ValueError("Every rule needs a category, and every category a rule.")
    return Rules(rules, categories)


def _applies(rule: Rule, readings: list[list[Found]]) -> bool:
    """Say whether the readings of one prompt break a rule."""
    if rule.unless and any(one.name in rule.unless for found in readings for one in found):
        return False
    if rule.within is None:
        names = {one.name for found in readings for one in found}
        return all(names & need for need in rule.needs)
    return any(_found_close(rule, found, rule.within) for found in readings)


def _found_close(rule: Rule, found: Iterable[Found], within: int) -> bool:
    """Walk over the terms by place; `last` is where each need was met last."""
    last: dict[int, int] = {}
    for one in sorted(found, key=lambda one: one.start):
        for place, need in enumerate(rule.needs):
            if one.name not in need:
                continue
            if rule.ordered and any(last.get(i, -1) < 0 for i in range(place)):
                continue
            last[place] = one.start
            if len(last) == len(rule.needs) and max(last.values()) - min(last.values()) <= within:
                return True
    return False
