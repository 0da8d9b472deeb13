"""The walk along a chain that names the first row which is not as it was. Pure.

It reads links in order, each with what its row holds now, and the checkpoints that were kept. It
does not matter whether they come from the database or from an export. What a link says of its row
is checked first; then whether the link follows the one before. Where it does not, the rest of the
chain is asked what happened: a link that fits another place tells whether something was taken out,
put in, or moved.

Whoever can write everything can also write the whole chain anew: only a checkpoint that was kept
elsewhere tells, and no more exactly than between itself and the one before it.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from licensing.chain.links import BEGINNING, Link, digest_of, hash_fields, hash_words
from licensing.chain.rows import Row

PLACES_TRIED_MAX = 10_000  # on either side; hashing for one place takes ten microseconds
# What the history of seats says of a person whose words were erased.
ERASING = frozenset({"forgotten"})

What = Literal[
    "altered", "deleted", "reordered", "inserted", "cut off", "erased", "rewritten", "unsigned"
]


@dataclass(frozen=True)
class Logged:
    """A link and its row as it is now; None if the row is not there."""

    link: Link
    row: Row | None
    person: str | None = None  # whose erasure would explain blank words
    words_withheld: bool = False  # an export without words cannot show what was said


@dataclass(frozen=True)
class Known:
    """What a checkpoint says: at link `number` the digest was this, and the row was that."""

    number: int
    digest: bytes
    name: str
    made_at: str


@dataclass(frozen=True)
class Finding:
    """The first thing wrong in a chain. `row` is empty where nothing tells its name."""

    what: What
    chain_id: uuid.UUID
    number: int
    row: str
    sentence: str


@dataclass(frozen=True)
class Walked:
    """What a walk saw."""

    links: int
    erased: int
    finding: Finding | None


def walk(
    chain_id: uuid.UUID, links: Callable[[], Iterator[Logged]], known: Iterable[Known]
) -> Walked:
    """Follow one chain to its end or to the first fault. `links` begins anew at each call."""
    kept = sorted(known, key=lambda one: one.number)
    by_number = {one.number: one for one in kept}
    blank: dict[str | None, Link] = {}
    forgotten: set[str] = set()
    expected, place, erased, seen = BEGINNING, 0, 0, 0
    for place, logged in enumerate(links(), start=1):
        link = logged.link
        finding = _row_fault(logged) or _order_fault(logged, place, expected, links)
        if finding is None and place in by_number and by_number[place].digest != link.digest:
            finding = _rewritten(link, by_number[place], seen)
        if finding is not None:
            return Walked(place - 1, erased, finding)
        if link.words_hash is not None and link.salt is None and not logged.words_withheld:
            erased += 1
            blank.setdefault(logged.person, link)
        if link.kind == "seat_change" and logged.row and logged.row.fields["kind"] in ERASING:
            forgotten.add(logged.row.fields["member_id"])
        seen = place if place in by_number else seen
        expected = link.digest
    return Walked(place, erased, _cut_off(chain_id, place, kept) or _unexplained(blank, forgotten))


def _row_fault(logged: Logged) -> Finding | None:
    """Whether the row still is what its link says."""
    link, row = logged.link, logged.row
    if row is None:
        when = " before it was linked" if link.fields_hash == hash_fields(None) else ""
        return _finding("deleted", link, f"was deleted{when}")
    if hash_fields(row.fields) != link.fields_hash:
        return _finding("altered", link, "was altered")
    if link.words_hash is None or logged.words_withheld:
        return None
    if link.salt is None and not row.is_blank:
        return _finding("altered", link, "has words after their erasure")
    if link.salt is not None and hash_words(row.words or {}, link.salt) != link.words_hash:
        return _finding("altered", link, "was altered: its words are not what they were")
    return None


def _order_fault(  # noqa: PLR0911 - one answer a way to bend a chain
    logged: Logged, place: int, expected: bytes, links: Callable[[], Iterator[Logged]]
) -> Finding | None:
    """Whether the link stands where it was put, after the one that it was put after."""
    link = logged.link
    if link.number > place:
        return _gone(link, place)
    is_itself = digest_of(link) == link.digest
    if is_itself and link.number == place and link.previous == expected:
        return None
    home = place if is_itself else _home(link)
    if home is None or link.previous == expected:
        return _finding("altered", link, "has an altered link")
    if home < place:
        there = next(one.link for one in links() if one.link.number == home)
        is_copy = there.digest == link.digest
        return _finding("inserted", link if is_copy else there, "was inserted")
    successor = next((one.link for one in links() if one.link.previous == expected), None)
    if home > place and successor is not None:
        return _finding("reordered", link, f"was moved here; it belongs at link {home}")
    if home > place:
        return _gone(link, place)
    if successor is not None and successor.number != place:
        return _finding("inserted", link, "was inserted")
    before = next((one.link for one in links() if one.link.number == place - 1), link)
    return _finding("altered", before, "was altered, and its link with it")


def _home(link: Link) -> int | None:
    """The place that a link was made for, looking from near to far."""
    for distance in range(1, PLACES_TRIED_MAX):
        for number in (link.number - distance, link.number + distance):
            if number >= 1 and digest_of(link, number=number) == link.digest:
                return number
    return None


def _gone(link: Link, place: int) -> Finding:
    return Finding(
        "deleted",
        link.chain_id,
        place,
        "",
        f"Link {place} was deleted, and the row that it named; {link.name} followed it.",
    )


def _rewritten(link: Link, known: Known, seen: int) -> Finding:
    return Finding(
        "rewritten",
        link.chain_id,
        seen + 1,
        known.name,
        f"Something from link {seen + 1} to link {link.number} was rewritten: the checkpoint of "
        f"{known.made_at} saw {known.name} at link {link.number} with another digest.",
    )


def _cut_off(chain_id: uuid.UUID, length: int, kept: Sequence[Known]) -> Finding | None:
    beyond = [one for one in kept if one.number > length]
    if not beyond:
        return None
    last = beyond[-1]
    row = next((one.name for one in beyond if one.number == length + 1), "")
    return Finding(
        "cut off",
        chain_id,
        length + 1,
        row,
        f"The chain was cut off at link {length + 1}{f' ({row})' if row else ''}: the checkpoint "
        f"of {last.made_at} saw {last.number} links, and {length} are left.",
    )


def _unexplained(blank: Mapping[str | None, Link], forgotten: set[str]) -> Finding | None:
    found = [link for person, link in blank.items() if person not in forgotten]
    if not found:
        return None
    first = min(found, key=lambda link: link.number)
    return _finding("erased", first, "lost its words, and nobody was forgotten whose they were")


def _finding(what: What, link: Link, words: str) -> Finding:
    sentence = f"Link {link.number}: {link.name} {words}."
    return Finding(what, link.chain_id, link.number, link.name, sentence)


def person_of(row: Row | None, column: str | None) -> Any:
    """Whose words a row holds."""
    return row.fields.get(column) if row is not None and column is not None else None
