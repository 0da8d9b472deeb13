"""Readings of a prompt: the words a person sees, whatever characters they were written with.

People hide a word by look-alike letters, zero-width characters, digits for letters, dots and spaces
between letters, or letters said twice. No single undoing is right for every prompt (in `12yo` the
digits are digits), so a prompt has several readings and a rule looks at each. Pure.
"""

import re
import unicodedata

# Letters of other scripts that look like Latin ones and that Unicode does not decompose to them.
# Written by code point, because nobody can proofread look-alikes by eye.
_LOOK_ALIKES = {
    # Cyrillic
    "\u0430": "a", "\u0432": "b", "\u0435": "e", "\u0437": "3", "\u0438": "u", "\u043a": "k",
    "\u043c": "m", "\u043d": "h", "\u043e": "o", "\u043f": "n", "\u0440": "p", "\u0441": "c",
    "\u0442": "t", "\u0443": "y", "\u0445": "x", "\u0455": "s", "\u0456": "i", "\u0458": "j",
    "\u0475": "v", "\u04bb": "h", "\u04cf": "l", "\u0501": "d", "\u051b": "q", "\u051d": "w",
    "\u0261": "g", "\u0251": "a",
    # Greek
    "\u03b1": "a", "\u03b2": "b", "\u03b5": "e", "\u03b7": "n", "\u03b9": "i", "\u03ba": "k",
    "\u03bd": "v", "\u03bf": "o", "\u03c1": "p", "\u03c3": "o", "\u03c4": "t", "\u03c5": "u",
    "\u03c7": "x", "\u03c9": "w", "\u03f2": "c", "\u03f3": "j",
    # Armenian and others
    "\u0561": "w", "\u0570": "h", "\u0578": "n", "\u057d": "u", "\u0585": "o", "\u0581": "g",
    # Latin letters without a decomposition
    "\u00e6": "ae", "\u0153": "oe", "\u00f8": "o", "\u0142": "l", "\u0111": "d", "\u0131": "i",
    "\u0268": "i", "\u0269": "i", "\u026a": "i", "\u0274": "n", "\u0280": "r", "\u0299": "b",
    "\u029c": "h", "\u029f": "l", "\u0262": "g", "\u1d00": "a", "\u1d04": "c", "\u1d05": "d",
    "\u1d07": "e", "\u1d0a": "j", "\u1d0b": "k", "\u1d0d": "m", "\u1d0f": "o", "\u1d18": "p",
    "\u1d1b": "t", "\u1d1c": "u", "\u1d20": "v", "\u1d21": "w", "\u1d22": "z", "\ua731": "s",
    "\u0254": "o", "\u025b": "e", "\u0180": "b", "\u0188": "c", "\u0199": "k", "\u01a5": "p",
    # Emoji that stand for a word
    "\U0001f51e": " nsfw ",
}  # fmt: skip

# Letters in boxes and circles that Unicode leaves alone: first code point of each run of A to Z.
_LETTER_RUNS = (0x1F150, 0x1F170, 0x1F1E6)

# Letters and symbols that look like a space.
_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")

_LEET = {"0": "o", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g", "@": "a", "$": "s"}
_LEET_INSIDE = re.compile(r"[!|1](?=[a-z0-9])|(?<=[a-z])1")

_WORD = re.compile(r"[a-z0-9]+")
_SPELLED = re.compile(r"(?<![a-z0-9])(?:[a-z0-9][^a-z0-9]){2,}[a-z0-9](?![a-z0-9])")
_IN_WORD_MARKS = re.compile(r"(?<=[a-z0-9])[^a-z0-9\s]+(?=[a-z0-9])")


def readings(prompt: str) -> tuple[str, ...]:
    """Return the different readings: lower-case words of a-z and 0-9 between single spaces.

    The first is the plain one. Digits read as letters (1 as i and as l), marks inside words read
    as nothing, and letters spelled one by one read as a word make up to five more.
    """
    folded = fold(prompt)
    found = [_words(folded)]
    for one in ("i", "l"):
        letters = _digits_as_letters(folded, one)
        found += [_words(letters), _words(_IN_WORD_MARKS.sub("", letters))]
    found.append(_words(_IN_WORD_MARKS.sub("", folded)))
    return tuple(dict.fromkeys(found))


def spelled(prompt: str) -> tuple[str, ...]:
    """Return what was spelled letter by letter, each run as one word: it may hold several."""
    folded = fold(prompt)
    letters = (folded, *(_digits_as_letters(folded, one) for one in ("i", "l")))
    runs = [_join(run) for reading in letters for run in _SPELLED.findall(reading)]
    return tuple(dict.fromkeys(runs))


def fold(words: str) -> str:
    """Lower case, no accents, nothing invisible, look-alikes as the letters they look like."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", words).casefold())
    return "".join(_seen(character) for character in decomposed)


def _seen(character: str) -> str:
    if character.isascii():
        return character
    if character in _BLANKS:
        return " "
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return ""
    for start in _LETTER_RUNS:
        if start <= ord(character) < start + 26:
            return chr(ord("a") + ord(character) - start)
    return _LOOK_ALIKES.get(character, character)


def _digits_as_letters(folded: str, one: str) -> str:
    """Read digits and signs as letters in every word that has a letter."""
    return " ".join(
        _LEET_INSIDE.sub(one, word).translate(_LEET_TABLE) if _has_letter(word) else word
        for word in re.split(r"\s", folded)
    )


def _has_letter(word: str) -> bool:
    return any("a" <= character <= "z" for character in word)


def _words(folded: str) -> str:
    joined = _SPELLED.sub(lambda match: _join(match[0]), folded)
    return " ".join(_WORD.findall(joined))


def _join(run: str) -> str:
    return "".join(_WORD.findall(run))


_LEET_TABLE = str.maketrans(_LEET)
