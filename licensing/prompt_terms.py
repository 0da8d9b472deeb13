"""The terms of the prompt rules, and where they stand in a reading: one walk, longest phrase wins.

`texts/policy/*.toml` holds the terms, one file a language and one for all; people who know the
policy and the language review those files, not this one. A term is one or more words, in scripts
without spaces one or more characters. It matches whole words, also with letters said more often
("nuuude"); a star at its end takes any ending. The walk is linear in the reading's length. Pure.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from itertools import groupby
from typing import Any

from licensing.prompt_words import Words, fold, words

LANGUAGES = ("en", "de", "fr", "es", "ja", "zh", "ar", "hi")
HARMLESS = "harmless"  # phrases whose words mean something else together ("baby blue")
CONTEXTS = frozenset({"art", "care", "news"})  # classes that no hidden word may claim

INSIDE_LETTERS_MIN = 4  # shorter terms are found by chance inside other words
STEM_LETTERS_MAX = 24  # the longest stem before a star
JOINED_LETTERS_MAX = 48  # a longer run of letters is not read as words run together

# Arabic writes "and", "the", "in", "for" and "with" on the word.
_ARABIC_PREFIX = re.compile(
    "^(?:[\u0648\u0641]?"  # "and"
    "(?:\u0628\u0627\u0644|\u0643\u0627\u0644|\u0627\u0644|\u0644\u0644|[\u0628\u0644\u0643])"
    "|[\u0648\u0641])(?=.{2})"
)
LINK = "link"  # words that stand between the terms of words run together ("nudegirlphoto")
TWIN_LETTERS_MIN = 5  # shorter words have harmless twins ("mail" and "mall")
_TWINS = str.maketrans("l", "i")  # a capital I, folded, has become an i
_KATAKANA = re.compile("[\u30a1-\u30fa\u30fc]+")


Runs = tuple[int, ...]  # how often each letter of a word stands there


@dataclass(frozen=True)
class Found:
    """A term of class `name` from word `start` up to, but not including, word `end`."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Term:
    """One term as the runs of letters of its words, and its class."""

    name: str
    runs: tuple[Runs, ...]


@dataclass
class _Node:
    """A place in the tree of terms: by whole next word, and by the stem of the next word."""

    next: dict[str, "_Node"] = field(default_factory=dict)
    stems: dict[str, "_Node"] = field(default_factory=dict)
    ends: list[Term] = field(default_factory=list)


@dataclass(frozen=True)
class Lexicon:
    """All terms of all languages, and the patterns for what no list can hold, such as ages.

    `classes` lists the terms as written, by language and class; `vocabulary` holds the longer
    one-word terms in Latin letters, `skeletons` all words of terms by their consonants, `twins`
    those of the vocabulary that can be written with l for i or i for l, as they then look.
    """

    classes: dict[str, dict[str, list[str]]]
    links: frozenset[str]
    patterns: tuple[tuple[str, re.Pattern[str]], ...]
    root: _Node
    vocabulary: dict[str, int]
    skeletons: dict[str, list[str]]
    twins: dict[str, str]

    def find(self, reading: Words) -> list[Found]:
        """Return every term in a reading, less those inside a harmless phrase."""
        found = [*self._walk(reading), *self._match_patterns(reading)]
        spans = [(one.start, one.end) for one in found if one.name == HARMLESS]
        covered = bytearray(len(reading))
        for start, end in spans:
            covered[start:end] = b"\1" * (end - start)
        return [
            one for one in found if one.name != HARMLESS and not all(covered[one.start : one.end])
        ]

    def inside(self, run: str) -> Words:
        """Read letters without gaps as the longer terms that they hold, if any."""
        return tuple(self._longest_inside(run))

    def opened(self, reading: Words) -> Words:
        """Read words run together ("nudechild") as the words they are, if all of it is words."""
        parts: list[str] = []
        for word in reading:
            parts += self._split(word) or [word]
        return tuple(parts)

    def untwinned(self, reading: Words) -> Words:
        """Read words with l for i or i for l ("chlld") as the terms that they look like."""
        return tuple(
            word if word in self.vocabulary else self.twins.get(word.translate(_TWINS), word)
            for word in reading
        )

    def unmasked(self, word: str) -> str | None:
        """Return the term that a word with stars for letters ("n*de") stands for, if any."""
        for whole in self.skeletons.get(_skeleton(word.replace("*", "")), ()):
            if len(whole) == len(word) and all(
                shown in {"*", letter} for shown, letter in zip(word, whole, strict=True)
            ):
                return whole
        return None

    def _walk(self, reading: Words) -> Iterator[Found]:
        forms = {word: _forms(word) for word in set(reading)}
        for start in range(len(reading)):
            places: list[tuple[_Node, int, tuple[Runs, ...]]] = [(self.root, start, ())]
            while places:
                node, at, taken = places.pop()
                for term in node.ends:
                    if _covers(taken, term):
                        yield Found(term.name, start, at)
                if at == len(reading):
                    continue
                for letters, runs in forms[reading[at]]:
                    if letters in node.next:
                        places.append((node.next[letters], at + 1, (*taken, runs)))
                    for length in range(2, min(len(letters), STEM_LETTERS_MAX) + 1):
                        stem = node.stems.get(letters[:length]) if node.stems else None
                        if stem is not None:
                            places.append((stem, at + 1, (*taken, runs[:length])))

    def _match_patterns(self, reading: Words) -> Iterator[Found]:
        text = " ".join(reading)
        for name, pattern in self.patterns:
            place, counted = 0, 0
            for match in pattern.finditer(text):
                counted += text.count(" ", place, match.start())
                place = match.start()
                yield Found(name, counted, counted + match[0].count(" ") + 1)

    def _longest_inside(self, run: str) -> Iterator[str]:
        at = 0
        while at < len(run):
            for length in range(min(STEM_LETTERS_MAX, len(run) - at), INSIDE_LETTERS_MIN - 1, -1):
                if run[at : at + length] in self.vocabulary:
                    yield run[at : at + length]
                    at += length
                    break
            else:
                at += 1

    def _split(self, word: str) -> list[str] | None:
        """Split a word into terms and link words, at least one of them a term; None if it cannot.

        `best[i]` is a way to write the first i letters. Bounded by the two lengths.
        """
        shortest = 2 * INSIDE_LETTERS_MIN - 1 if word.isascii() else INSIDE_LETTERS_MIN
        if not shortest <= len(word) <= JOINED_LETTERS_MAX:
            return None
        if not (word.isascii() or _KATAKANA.fullmatch(word)):
            return None
        best: list[list[str] | None] = [[], *([None] * len(word))]
        for end in range(1, len(word) + 1):
            for start in range(max(0, end - STEM_LETTERS_MAX), end):
                before, part = best[start], word[start:end]
                if before is not None and (part in self.vocabulary or part in self.links):
                    best[end] = [*before, part]
                    break
        parts = best[-1]
        if parts is None or len(parts) == 1 or not any(part in self.vocabulary for part in parts):
            return None
        return parts


@cache
def lexicon() -> Lexicon:
    """Read the terms of all languages. Raises `ValueError` for a term that is no word."""
    classes: dict[str, dict[str, list[str]]] = {}
    links: frozenset[str] = frozenset()
    patterns: list[tuple[str, re.Pattern[str]]] = []
    root = _Node()
    for language in ("any", *LANGUAGES):
        entry = _read(language)
        for name, written in entry.pop("patterns", {}).items():
            patterns += [(name, re.compile(rf"(?<![^ ])(?:{one})(?![^ ])")) for one in written]
        links |= frozenset(entry.pop(LINK, ()))
        classes[language] = entry
        for name, terms in entry.items():
            for term in terms:
                _plant(root, name, term)
    plain = _plain_words(classes)
    skeletons: dict[str, list[str]] = {}
    for word in sorted({part for term in _folded(classes) for part in term.split()}):
        if re.fullmatch("[a-z]{3,}", word):
            skeletons.setdefault(_skeleton(word), []).append(word)
    twins = {word.translate(_TWINS): word for word in plain if len(word) >= TWIN_LETTERS_MIN}
    vocabulary = dict.fromkeys(plain, 1)
    return Lexicon(classes, links, tuple(patterns), root, vocabulary, skeletons, twins)


def _read(language: str) -> dict[str, Any]:
    source = resources.files("licensing").joinpath(f"texts/policy/{language}.toml")
    return tomllib.loads(source.read_text("utf-8"))


def _plant(root: _Node, name: str, written: str) -> None:
    """Put one term into the tree."""
    is_stem = written.endswith("*")
    parts = words(written.rstrip("*"))
    if not parts:
        raise ValueError(f"The term {written!r} of class {name!r} holds no word.")
    node, runs = root, []
    for place, part in enumerate(parts):
        letters, lengths = _squeeze(part)
        runs.append(lengths)
        branch = node.stems if is_stem and place == len(parts) - 1 else node.next
        node = branch.setdefault(letters, _Node())
    node.ends.append(Term(name, tuple(runs)))


def _forms(word: str) -> list[tuple[str, Runs]]:
    """Return a word as its letters with their runs; for Arabic, also without its prefixes."""
    forms = [_squeeze(word)]
    bare = _ARABIC_PREFIX.sub("", word) if word[0] > "\u0600" else word
    if bare != word:
        forms.append(_squeeze(bare))
    return forms


def _squeeze(word: str) -> tuple[str, Runs]:
    runs = [(letter, sum(1 for _ in run)) for letter, run in groupby(word)]
    return "".join(letter for letter, _ in runs), tuple(length for _, length in runs)


def _covers(taken: tuple[Runs, ...], term: Term) -> bool:
    """Say whether each letter stands there as often as the term has it, or more often."""
    return all(
        there >= wanted
        for word, written in zip(taken, term.runs, strict=True)
        for there, wanted in zip(word, written, strict=True)
    )


def _plain_words(classes: dict[str, dict[str, list[str]]]) -> list[str]:
    long_enough = re.compile(f"[a-z]{{{INSIDE_LETTERS_MIN},}}|{_KATAKANA.pattern}")
    return sorted(
        {word for word in _folded(classes) if len(word) > 1 and long_enough.fullmatch(word)}
    )


def _folded(classes: dict[str, dict[str, list[str]]]) -> Iterator[str]:
    """Return the terms that a hidden word may stand for."""
    for entry in classes.values():
        for name, terms in entry.items():
            if name != HARMLESS and name not in CONTEXTS:
                yield from (fold(term.rstrip("*")) for term in terms)


def _skeleton(word: str) -> str:
    return re.sub("[aeiou]", "", word)
