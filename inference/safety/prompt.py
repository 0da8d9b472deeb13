"""The learned prompt filter: the worker's first step, before the GPU works and the money settles.

The rules (`licensing.moderation`) have read the prompt already, before money moved; this sees what
no list of words can. The shipped classifier is the floor and always judges; ATELIER_PROMPT_FILTERS
names further ones with commas between them (moderation, guard), which come in addition, and the
strictest decides. It fails closed: a classifier that cannot load or does not answer stops the job
with FilterUnavailable, and a name that nothing has does too.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from inference.safety import FilterUnavailable
from licensing import prompt_rules
from licensing.prompt_rules import STRICTNESS, Action

VARIABLE = "ATELIER_PROMPT_FILTERS"


@dataclass(frozen=True)
class PromptJudgement:
    """What a classifier says to one prompt.

    `allow`: go on. `review`: go on, and a reviewer looks at it. `block`: nothing is made, nothing
    is charged. `score` is 0 to 1, `category` one of the policy's, `source` who judged.
    """

    action: Literal["allow", "review", "block"]
    category: str | None
    score: float
    source: str


class PromptClassifier(Protocol):
    """Judges prompts; fails closed."""

    def load(self) -> None:
        """Make ready; raises `FilterUnavailable`."""

    def check(self, prompt: str, /) -> PromptJudgement:
        """Judge one prompt; raises `FilterUnavailable`."""


class PromptFilters:
    """Several classifiers as one: all load, all read, the strictest decides."""

    def __init__(self, classifiers: Sequence[PromptClassifier]) -> None:
        """Take at least one; load nothing."""
        assert classifiers, "the floor is always there"
        self.classifiers = tuple(classifiers)

    def load(self) -> None:
        """Load all. Raises `FilterUnavailable` for the first that cannot."""
        for one in self.classifiers:
            one.load()

    def check(self, prompt: str) -> PromptJudgement:
        """Ask all until one blocks. Raises `FilterUnavailable` if one of those cannot say."""
        judged: list[PromptJudgement] = []
        for one in self.classifiers:
            judged.append(one.check(prompt))
            if judged[-1].action == "block":
                break
        return max(judged, key=lambda said: (STRICTNESS[said.action], said.score))


class Unknown:
    """A name that no classifier has: it judges nothing, so nothing is let through."""

    def __init__(self, name: str) -> None:
        """Remember what was asked for."""
        self._name = name

    def load(self) -> None:
        """Raise `FilterUnavailable`."""
        raise FilterUnavailable(
            f"{VARIABLE} names “{self._name}”, which is no prompt filter (there are "
            f"{', '.join(FURTHER)}), so no picture can be made. Correct it and restart the worker."
        )

    def check(self, _: str) -> PromptJudgement:
        """Raise `FilterUnavailable`."""
        self.load()
        raise AssertionError


def tighten(said: PromptJudgement, tightened: Mapping[str, Action]) -> PromptJudgement:
    """Make a doubt as strict as the organisation made its category; never milder."""
    if said.action != "review" or said.category is None:
        return said
    if tightened.get(said.category) != "block":
        return said
    return PromptJudgement("block", said.category, said.score, said.source)


def refusal(category: str | None) -> str:
    """The sentence for the person whose prompt was refused."""
    known = prompt_rules.load().categories.get(category or "")
    if known is None:
        return "The prompt filter refused this prompt. That is not made here."
    return known.message


def chosen(environment: Mapping[str, str] = os.environ) -> PromptFilters:
    """The floor and whatever the environment adds to it; loads nothing."""
    from inference.safety.learned import LearnedClassifier  # noqa: PLC0415 - brings numpy

    said = environment.get(VARIABLE, "").lower().split(",")
    names = [name for name in map(str.strip, said) if name]
    further = [FURTHER[name](environment) if name in FURTHER else Unknown(name) for name in names]
    return PromptFilters([LearnedClassifier(), *further])


def _moderation(environment: Mapping[str, str]) -> PromptClassifier:
    from inference.safety.prompt_endpoints import (  # noqa: PLC0415 - only where it is asked for
        ModerationClassifier,
    )

    return ModerationClassifier(
        environment.get("ATELIER_PROMPT_MODERATION_URL", ""),
        environment.get("ATELIER_PROMPT_MODERATION_KEY", ""),
        environment.get("ATELIER_PROMPT_MODERATION_MODEL", "omni-moderation-latest"),
    )


def _guard(environment: Mapping[str, str]) -> PromptClassifier:
    from inference.safety.prompt_endpoints import GuardClassifier  # noqa: PLC0415 - as above

    return GuardClassifier(
        environment.get("ATELIER_PROMPT_GUARD_URL", ""),
        environment.get("ATELIER_PROMPT_GUARD_KEY", ""),
        environment.get("ATELIER_PROMPT_GUARD_MODEL", "llama-guard"),
    )


FURTHER: Mapping[str, Callable[[Mapping[str, str]], PromptClassifier]] = {
    "moderation": _moderation,
    "guard": _guard,
}
