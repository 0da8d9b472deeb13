"""The shipped prompt classifier: a sentence embedding, n-grams of letters, and a trained head.

The embedding (`minilm`) understands English; the terms of the other seven languages reach it as
plain English words (the `gloss` of `licensing/texts/policy/rules.toml`), and the letters of every
script reach the head (`inference.safety.head`) as hashed n-grams. A long prompt is read in pieces,
and its worst piece counts.
"""

import importlib
import re
import tomllib
import zlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from types import ModuleType
from typing import Any, Literal

import numpy as np

from inference.safety import FilterUnavailable
from inference.safety.head import Head, Vectors, read_head
from inference.safety.prompt import PromptJudgement
from licensing import prompt_rules, prompt_words

BUCKETS = 4096  # of hashed n-grams
NGRAM_SIZES = (2, 3, 4)
PIECE_WORDS, PIECE_LETTERS = 60, 400  # of a long prompt; the embedding was trained on a paragraph
# A head is surer of the words of one script than of another's: each has thresholds of its own.
SCRIPTS = ("latin", "east_asian", "arabic", "devanagari")
_SCRIPT_LETTERS = {
    "east_asian": re.compile(
        "[\u3005\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3\U00020000-\U0002fa1f]"
    ),
    "arabic": re.compile("[\u0620-\u06d3]"),
    "devanagari": re.compile("[\u0900-\u097f]"),
}
PLAIN = "a red apple on a table"  # what a healthy head lets through
REPAIR = "Reinstall Atelier with the extra `gpu` and restart the worker."


class LearnedClassifier:
    """Judges prompts by the shipped head."""

    def __init__(self) -> None:
        """Load nothing yet; `load`, or the first `check`, does."""
        self._embedder: Any = None
        self._head: Head | None = None

    def load(self) -> None:
        """Load head and embedding and try them on two prompts; once. Raises FilterUnavailable."""
        if self._embedder is not None:
            return
        module = _module()
        try:
            self._head = read_head()
            embedder = module.Embedder()
        except module.FAULTS as error:
            raise FilterUnavailable(
                f"The prompt classifier cannot load, so no picture can be made. {REPAIR}"
            ) from error
        self._embedder = embedder
        alarm = self._head.card["alarm"]
        if self.check(PLAIN).action != "allow" or self.check(alarm).action == "allow":
            self._embedder = None
            raise FilterUnavailable(
                "The prompt classifier takes a red apple for something forbidden, or lets through "
                f"what it was trained to stop, so no picture can be made. {REPAIR}"
            )

    def check(self, prompt: str) -> PromptJudgement:
        """Judge one prompt. Raises FilterUnavailable when it cannot."""
        scores = self.scores(prompt)
        assert self._head is not None
        return _judge(scores, self._head.card, script_of(prompt))

    def scores(self, prompt: str) -> dict[str, float]:
        """Return how sure the head is of each category, 0 to 1."""
        self.load()
        assert self._head is not None
        try:
            features = read(self._embedder, pieces(prompt))
        except _module().FAULTS as error:
            raise FilterUnavailable(
                f"The prompt classifier failed, so this picture cannot be made. {REPAIR}"
            ) from error
        logits = self._head.logits(features).max(axis=0)
        sure = 1 / (1 + np.exp(-logits.astype(np.float64)))
        if not np.isfinite(sure).all():
            raise FilterUnavailable(f"The prompt classifier gave no valid score. {REPAIR}")
        return dict(zip(self._head.card["categories"], map(float, sure), strict=True))


def read(embedder: Any, texts: Sequence[str]) -> Vectors:
    """Return the features of each text: (n, 384 + BUCKETS)."""
    embedded: Vectors = embedder.embed([gloss(text) for text in texts])
    letters = np.stack([ngrams(text) for text in texts])
    return np.concatenate([embedded, letters], axis=1)


def script_of(prompt: str) -> str:
    """Return which of SCRIPTS has most letters in a prompt; Latin and all others count as one."""
    text = prompt_words.fold(prompt)
    counts = {name: len(letters.findall(text)) for name, letters in _SCRIPT_LETTERS.items()}
    counts["latin"] = sum(map(str.isalpha, text)) - sum(counts.values())
    return max(SCRIPTS, key=counts.__getitem__)


def pieces(prompt: str) -> list[str]:
    """Cut a long prompt into pieces of at most 60 words and 400 letters."""
    words = [
        word[start : start + PIECE_LETTERS]
        for word in prompt.split()
        for start in range(0, len(word), PIECE_LETTERS)
    ]
    cut: list[str] = []
    while words:
        piece: list[str] = []
        letters = 0
        while words and len(piece) < PIECE_WORDS and letters + len(words[0]) <= PIECE_LETTERS:
            letters += len(words[0])
            piece.append(words.pop(0))
        cut.append(" ".join(piece))
    return cut or [""]


def gloss(prompt: str) -> str:
    """Return the words in Latin letters, then a plain English word for each term found."""
    plain = [word for word in prompt_words.words(prompt) if word.isascii()]
    found = sorted(
        {
            (one.start, english()[one.name])
            for reading in prompt_rules.find_terms(prompt)
            for one in reading
            if one.name in english()
        }
    )
    terms = list(dict.fromkeys(word for _, word in found))
    return ", ".join(part for part in (" ".join(plain), *terms) if part)


def ngrams(prompt: str) -> Vectors:
    """Return the hashed n-grams of the folded letters, as a vector of length 1."""
    text = f" {' '.join(prompt_words.fold(prompt).split())} "
    counts = np.zeros(BUCKETS, np.float32)
    for size in NGRAM_SIZES:
        for start in range(len(text) - size + 1):
            counts[zlib.crc32(text[start : start + size].encode()) % BUCKETS] += 1
    counts = np.sqrt(counts)
    norm = float(np.linalg.norm(counts))
    return counts / norm if norm else counts


@cache
def english() -> dict[str, str]:
    """Read the plain English word of each class of terms."""
    source = resources.files("licensing").joinpath("texts/policy/rules.toml")
    words: dict[str, str] = tomllib.loads(source.read_text("utf-8"))["gloss"]
    return words


def _judge(scores: dict[str, float], card: dict[str, Any], script: str) -> PromptJudgement:
    """Take the strictest answer; among equals, the one that the head is surest of."""
    source = str(card["version"])
    found = PromptJudgement("allow", None, max(scores.values()), source)
    for category, score in sorted(scores.items(), key=lambda item: -item[1]):
        bar = card["thresholds"][script][category]
        action: Literal["allow", "review", "block"] = "allow"
        if score >= bar["sure"]:
            action = "block" if _learned(category) == "block" else "review"
        elif score >= bar["doubt"]:
            action = "review"
        if prompt_rules.STRICTNESS[action] > prompt_rules.STRICTNESS[found.action]:
            found = PromptJudgement(action, category, score, source)
    return found


def _learned(category: str) -> str | None:
    return prompt_rules.load().categories[category].learned


def _module() -> ModuleType:
    """The embedding, imported when it is needed: a missing package is a sentence, not a crash."""
    try:
        return importlib.import_module("inference.safety.minilm")
    except (ImportError, OSError) as error:
        raise FilterUnavailable(
            f"The prompt classifier is not installed, so no picture can be made. {REPAIR}"
        ) from error
