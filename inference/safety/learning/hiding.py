"""Ways in which people hide a word from a filter, for the evaluation: each leaves it readable."""

import random
import unicodedata
from collections.abc import Callable

_CYRILLIC = str.maketrans("aceopxyis", "асеорхуіѕ")
_LEET = str.maketrans("aeiost", "431057")
_ZERO_WIDTH = "\u200b"
_LATIN = (
    "look-alikes",
    "zero-width",
    "digits",
    "spelled",
    "repeated",
    "full-width",
    "marks",
    "turned",
    "joined",
    "bold",
    "starred",
)
_WAYS: dict[str, tuple[str, ...]] = {
    "ja": ("zero-width", "gaps", "dots"),
    "zh": ("zero-width", "gaps", "dots"),
    "ar": ("zero-width", "stretched", "vowels"),
    "hi": ("zero-width", "joiner"),
}


def ways(language: str) -> tuple[str, ...]:
    """Return the names of the ways that a language's script allows."""
    return _WAYS.get(language, _LATIN)


def hide(term: str, way: str, chance: random.Random) -> str:
    """Write a term in a way that a person still reads."""
    return _HOW[way](term, chance)


def _look_alikes(term: str, _: random.Random) -> str:
    return term.translate(_CYRILLIC)


def _zero_width(term: str, chance: random.Random) -> str:
    return "".join(letter + (_ZERO_WIDTH if chance.random() < 0.5 else "") for letter in term)


def _digits(term: str, _: random.Random) -> str:
    plain = unicodedata.normalize("NFKD", term)
    return unicodedata.normalize("NFC", plain.translate(_LEET))


def _spelled(term: str, chance: random.Random) -> str:
    gap = chance.choice(" .-_")
    return " ".join(gap.join(word) if len(word) > 2 else word for word in term.split())


def _repeated(term: str, chance: random.Random) -> str:
    at = chance.randrange(len(term))
    return term[: at + 1] + term[at] * 2 + term[at + 1 :] if term[at].isalpha() else term


def _full_width(term: str, _: random.Random) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in term)


def _marks(term: str, _: random.Random) -> str:
    return "".join(letter + "\u0336" for letter in term)


def _turned(term: str, _: random.Random) -> str:
    return f"\u202e{term[::-1]}\u202c"


def _joined(term: str, _: random.Random) -> str:
    return "".join(word.capitalize() for word in term.split())


def _bold(term: str, _: random.Random) -> str:
    return "".join(chr(0x1D41A + ord(c) - ord("a")) if "a" <= c <= "z" else c for c in term)


def _starred(term: str, _: random.Random) -> str:
    """Star the first vowel inside the longest word."""
    longest = max(term.split(), key=len)
    for at, letter in enumerate(longest[1:-1], start=1):
        if letter in "aeiou":
            return term.replace(longest, f"{longest[:at]}*{longest[at + 1 :]}")
    return term


def _gaps(term: str, _: random.Random) -> str:
    return " ".join(term)


def _dots(term: str, _: random.Random) -> str:
    return "\u30fb".join(term)


def _stretched(term: str, _: random.Random) -> str:
    return "\u0640".join(term) if " " not in term else term.replace(" ", "\u0640 ")


def _vowels(term: str, _: random.Random) -> str:
    return "".join(letter + "\u064e" if letter.isalpha() else letter for letter in term)


def _joiner(term: str, _: random.Random) -> str:
    return "\u200d".join(term)


_HOW: dict[str, Callable[[str, random.Random], str]] = {
    "look-alikes": _look_alikes,
    "zero-width": _zero_width,
    "digits": _digits,
    "spelled": _spelled,
    "repeated": _repeated,
    "full-width": _full_width,
    "marks": _marks,
    "turned": _turned,
    "joined": _joined,
    "bold": _bold,
    "starred": _starred,
    "gaps": _gaps,
    "dots": _dots,
    "stretched": _stretched,
    "vowels": _vowels,
    "joiner": _joiner,
}
