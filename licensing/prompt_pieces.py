"""Readings for words that were cut by a space ("na ked") or written backwards ("dekan").

Both look for one-word terms of the policy alone, and both read only what is hardly anything else:
"pen is" stays what it says. Every step is linear in the reading's length. Pure.
"""

from collections.abc import Container

from licensing.prompt_words import Words, words

TURNED_LETTERS_MIN = 5  # a shorter term is found by chance: "Lana" and "snug" are some, backwards
SHORT_LETTERS_MAX = 2  # a piece so short is no word, but for the little ones
SURE_LETTERS_MIN = 6  # from here on a term in two pieces is taken for it, whatever the pieces are
PIECES_MAX = 3
# Short words that stand before or after another one in honest sentences.
LITTLE = frozenset(
    words(
        "a i am an as at be by do go he hi if in is it me my no of oh ok on or so to up us we "
        "de la le el en et es un il du au da die der das ein im zu"
    )
)


def glued(reading: Words, terms: Container[str]) -> Words:
    """Put pieces of words together where they make a term; three pieces before two."""
    whole: list[str] = []
    at = 0
    while at < len(reading):
        for count in range(PIECES_MAX, 1, -1):
            pieces = reading[at : at + count]
            if len(pieces) == count and _is_cut(pieces, terms):
                whole.append("".join(pieces))
                at += count
                break
        else:
            whole.append(reading[at])
            at += 1
    return tuple(whole)


def backwards(reading: Words, terms: Container[str]) -> tuple[Words, ...]:
    """Read every word backwards, in the order given and in the other, if that shows a term."""
    turned = tuple(word[::-1] for word in reading)
    if not any(
        len(word) >= TURNED_LETTERS_MIN and word in terms and was not in terms and word != was
        for word, was in zip(turned, reading, strict=True)
    ):
        return ()
    return turned, turned[::-1]


def _is_cut(pieces: Words, terms: Container[str]) -> bool:
    word = "".join(pieces)
    if word not in terms or any(one in terms for one in pieces):
        return False
    if any(one in LITTLE for one in pieces):
        return False
    return len(word) >= SURE_LETTERS_MIN or any(len(one) <= SHORT_LETTERS_MAX for one in pieces)
