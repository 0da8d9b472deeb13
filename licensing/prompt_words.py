"""Readings of a prompt: the words a person sees, whatever characters they were written with.

People hide a word by look-alike letters, zero-width characters, digits for letters, dots and spaces
between letters, letters said twice, or words run together. No single undoing is right for every
prompt (in `12yo` the digits are digits), so a prompt has up to READINGS_MAX readings and a rule
looks at each. A reading is a tuple of words: Latin, Arabic, Devanagari and katakana words, and
single characters where a script puts no spaces (Han and hiragana) and for emoji. Every step is
linear in the prompt's length. Pure.
"""

import re
import tomllib
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache
from importlib import resources

Words = tuple[str, ...]

READINGS_MAX = 10  # what `readings` can return; each costs one walk over the terms

# Scripts that the rules are written in besides Latin. Their vowel signs are letters to us, and
# their letters are read as Latin look-alikes only between Latin letters.
_ARABIC, _DEVANAGARI = "\u0620-\u065f\u066e-\u06d3", "\u0900-\u0963\u0970-\u097f"
_KATAKANA = "\u30a1-\u30fa\u30fc"
_UNSPACED = "\u3005\u3041-\u309a\u3400-\u9fff\U00020000-\U0002fa1f"
_NATIVE = f"{_ARABIC}{_DEVANAGARI}{_KATAKANA}{_UNSPACED}\uac00-\ud7a3"
_EMOJI = "\u2600-\u27bf\U0001f000-\U0001faff"

_WORD = re.compile(f"[a-z0-9]+|[{_ARABIC}]+|[{_DEVANAGARI}]+|[{_KATAKANA}]+|[{_UNSPACED}{_EMOJI}]")
_PICTURE = re.compile(f"[{_EMOJI}]")
_MASK = re.compile(r"[#_%?.\-]")
_MASKED = re.compile(r"(?<![^\s(\[,])[a-z]+(?:[*#_%?.\-]{1,2}[a-z]+)+(?![^\s,.;:!?)\]])")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TALL = re.compile(r"(?<=[a-z])I")  # looks like the small l, and stands where a small letter would
_OVERRIDE = re.compile("\u202e([^\u202c\u2069\n]*)")
_GAP = f"[^a-z0-9{_NATIVE}]{{1,3}}"
_SPELLED = re.compile(f"(?<![a-z0-9])(?:[a-z0-9]{_GAP}){{2,}}[a-z0-9](?![a-z0-9])")
_SPELLED_NATIVE = re.compile(
    "|".join(
        f"(?<![{script}])(?:[{script}]{_GAP}){{2,}}[{script}](?![{script}])"
        for script in (_ARABIC, _KATAKANA)
    )
)
_IN_WORD_MARKS = re.compile(f"(?<=[a-z0-9])[^a-z0-9\\s{_NATIVE}{_EMOJI}]+(?=[a-z0-9])")

# Letters in boxes and circles that Unicode leaves alone: first code point of each run of A to Z.
_LETTER_RUNS = (0x1F150, 0x1F170, 0x1F1E6)
# Letters and symbols that look like a space.
_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
# Letters that only programs see: the tags of flags, and letters by number as web pages have them.
_TAGS = {code: code - 0xE0000 for code in range(0xE0020, 0xE007F)}
_ESCAPED = re.compile(r"&#(\d{2,3}|x[0-9a-f]{2});|%([46][1-9a-f]|[57][0-9a])", re.IGNORECASE)
# Letters with strokes, hooks and curls that Unicode does not take apart; their names say whose.
_NAMED = re.compile(
    r"LATIN (?:SMALL LETTER|LETTER SMALL CAPITAL) "
    r"(?:(?:TURNED|REVERSED|BARRED|INSULAR|SIDEWAYS|DOTLESS) )?([A-Z])(?: WITH .+| BAR)?"
)
# Vowel signs of Devanagari and voice marks of kana are Unicode marks too, but change the word.
_KEPT_MARKS = re.compile("[\u0901-\u0903\u093e-\u094d\u3099\u309a]")
# Forms of one letter that writers use alike: Arabic (where a lengthening stroke and a hamza alone
# mean nothing to us) and Devanagari's two nasal signs.
_ALIKE = str.maketrans(
    "\u0649\u0629\u0671\u06cc\u06a9\u0901", "\u064a\u0647\u0627\u064a\u0643\u0902", "\u0640\u0621"
)

_LEET = {"0": "o", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g", "@": "a", "$": "s"}
_LEET |= {"(": "c", "+": "t", "!": "i", "|": "i"}
_LEET_TABLE = str.maketrans(_LEET)
_LEET_INSIDE = re.compile(r"[!|1](?=[a-z0-9])|(?<=[a-z])1")
_LEET_EDGE = re.compile(r"[(!|+]+(?=\s|$)|(?<![^\s])\((?=\S*\))")


def readings(prompt: str) -> tuple[Words, ...]:
    """Return the different readings, at most READINGS_MAX, the plain one first.

    The others read what was spelled letter by letter as words, digits as letters (1 as i and as
    l), marks inside words as nothing, a capital inside a word as a new word, a capital I there as
    an l, and what a writing-direction override turns round as it is seen.
    """
    folded = fold(prompt)
    sources = [folded]
    for one in ("i", "l"):
        letters = _digits_as_letters(folded, one)
        sources += [letters, _IN_WORD_MARKS.sub("", letters)]
    sources.append(_IN_WORD_MARKS.sub("", folded))
    if _CAMEL.search(prompt):
        sources.append(fold(_CAMEL.sub(" ", prompt)))
    if _TALL.search(prompt):
        sources.append(fold(_TALL.sub("l", prompt)))
    if "\u202e" in prompt:
        sources.append(fold(_OVERRIDE.sub(lambda match: match[1][::-1], prompt)))
    found = [_joined(source) for source in dict.fromkeys(sources)]
    return tuple(dict.fromkeys([tuple(_WORD.findall(folded)), *found]))


def spelled(prompt: str) -> tuple[str, ...]:
    """Return what was spelled letter by letter, each run as one word: it may hold several."""
    folded = fold(prompt)
    letters = (folded, *(_digits_as_letters(folded, one) for one in ("i", "l")))
    runs = [_join(run) for reading in letters for run in _SPELLED.findall(reading)]
    return tuple(dict.fromkeys(runs))


def unmasked(prompt: str, whole: Callable[[str], str | None]) -> Words:
    """Read words with stars or the like for letters ("n*de") as what `whole` makes of them."""

    def put(match: re.Match[str]) -> str:
        return whole(_MASK.sub("*", match[0])) or match[0]

    folded = fold(prompt)
    read = _MASKED.sub(put, folded)
    return words(read) if read != folded else ()


def fold(text: str) -> str:
    """Lower case, no accents, nothing invisible, look-alikes as the letters they look like."""
    shown = _ESCAPED.sub(_unescaped, text).translate(_TAGS)
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", shown).casefold())
    latin, simplified = _characters()
    seen = "".join(_seen(character, latin) for character in decomposed)
    seen = unicodedata.normalize("NFC", seen).translate(_ALIKE).translate(simplified)
    return _BETWEEN_LATIN.sub(lambda match: _NATIVE_TWINS[match[0]], seen)


def words(text: str) -> Words:
    """Return the words of a text, folded, without looking for hidden ones."""
    return tuple(_WORD.findall(fold(text)))


@cache
def _characters() -> tuple[dict[str, str], dict[int, int]]:
    """Read the look-alikes of Latin letters, and the simplified form of Chinese characters."""
    source = resources.files("licensing").joinpath("texts/policy/characters.toml")
    table = tomllib.loads(source.read_text("utf-8"))
    latin = table["latin"]
    chinese = table["chinese"]
    return (
        {chr(int(code, 16)): letter for letter in latin for code in latin[letter].split()},
        str.maketrans(chinese["traditional"], chinese["simplified"]),
    )


def _seen(character: str, latin: dict[str, str]) -> str:
    if character.isascii():
        return character if character.isprintable() or character.isspace() else ""
    if character in _BLANKS:
        return " "
    category = unicodedata.category(character)
    if category in {"Mn", "Me", "Mc", "Cf", "Cc"}:
        return character if _KEPT_MARKS.match(character) else ""
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    for start in _LETTER_RUNS:
        if start <= ord(character) < start + 26:
            return chr(ord("a") + ord(character) - start)
    return latin.get(character) or _by_name(character)


@lru_cache(maxsize=4096)  # of the characters of all prompts, which may be any
def _by_name(character: str) -> str:
    """Read a Latin letter with a stroke or hook, or upside down, as the plain one."""
    named = _NAMED.fullmatch(unicodedata.name(character, ""))
    return named[1].lower() if named else character


def _unescaped(match: re.Match[str]) -> str:
    """Return the character of `&#110;`, `&#x6e;` or `%6e`."""
    if match[2]:
        return chr(int(match[2], 16))
    number = match[1].lower()
    return chr(int(number[1:], 16) if number.startswith("x") else int(number))


def _digits_as_letters(folded: str, one: str) -> str:
    """Read digits and signs as letters in every word that has a letter."""
    return " ".join(
        _LEET_INSIDE.sub(one, _LEET_EDGE.sub(" ", word)).translate(_LEET_TABLE)
        if _has_letter(word)
        else word
        for word in re.split(r"\s", folded)
    )


def _has_letter(word: str) -> bool:
    return any("a" <= character <= "z" for character in word)


def _joined(folded: str) -> Words:
    joined = _SPELLED.sub(lambda match: _join(match[0]), folded)
    joined = _SPELLED_NATIVE.sub(lambda match: _join(match[0]), joined)
    return tuple(_WORD.findall(joined))


def _join(run: str) -> str:
    """Return the letters of a run; an emoji between them is as good a gap as a dot."""
    return "".join(word for word in _WORD.findall(run) if not _PICTURE.match(word))


# Letters of the native scripts that pass for Latin ones, read so only beside Latin letters.
_NATIVE_TWINS = {"\u0627": "l", "\u0647": "o", "\u0665": "o", "\u0966": "o", "\u4e28": "l"}
_NATIVE_TWINS |= {"\u5de5": "i", "\u30fc": "", "\u4e00": ""}
_BETWEEN_LATIN = re.compile(f"(?<=[a-z])[{''.join(_NATIVE_TWINS)}](?=[a-z])")
