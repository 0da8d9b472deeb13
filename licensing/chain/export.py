"""The log as one file, for somebody who has no access to the database, and read back from it.

The first line says what the file is; then each link with its row, chain by chain, then rows that
are in no chain, then the checkpoints of the database. Without words (`with_words` false) the salts
and the words stay here: the file then proves that no field was changed and no row is missing, and
holds nothing that people wrote.
"""

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from licensing.chain import checkpoints, log, sources
from licensing.chain.canonical import plain
from licensing.chain.checkpoints import Checkpoint
from licensing.chain.documents import Unusable, lines_of, offsets, write_lines
from licensing.chain.links import Link
from licensing.chain.rows import Row
from licensing.chain.verify import Finding, Logged, person_of
from licensing.db import now

FORMAT = "atelier log 1"


@dataclass(frozen=True)
class Export:
    """A file that was written by `write`."""

    path: Path
    has_words: bool
    beginnings: dict[uuid.UUID, int]  # the byte at which each chain begins

    def chains(self) -> list[uuid.UUID]:
        """The chains in it, in its order."""
        return list(self.beginnings)

    def links(self, chain_id: uuid.UUID) -> Iterator[Logged]:
        """The links of one chain as they stand in the file. Raises `Unusable`."""
        if chain_id not in self.beginnings:
            return
        for line in lines_of(self.path, self.beginnings[chain_id]):
            if line.get("type") != "link" or line.get("chain") != str(chain_id):
                return
            yield _logged(line)

    def loose(self) -> Iterator[Finding]:
        """What was in no chain when the file was written."""
        for line in lines_of(self.path):
            if line.get("type") == "loose":
                chain_id, row = uuid.UUID(line["chain"]), str(line["row"])
                yield Finding("inserted", chain_id, 0, row, str(line["sentence"]))

    def checkpoints(self) -> list[Checkpoint]:
        """The checkpoints that the database had."""
        found = (line for line in lines_of(self.path) if line.get("type") == "checkpoint")
        return [checkpoints.from_json(line) for line in found]


def write(path: Path, session: Session, *, with_words: bool = True) -> None:
    """Write the whole log as `session` sees it (`log.still`). Raises `Unusable`."""
    write_lines(path, _lines(session, with_words=with_words))


def read(path: Path) -> Export:
    """Open an export. Raises `Unusable`."""
    first = next(lines_of(path), {})
    if first.get("format") != FORMAT:
        raise Unusable(f"{path} is not an export of a log.")
    beginnings: dict[uuid.UUID, int] = {}
    for offset, line in offsets(path):
        if line.get("type") == "link":
            beginnings.setdefault(_chain(line), offset)
    return Export(path, bool(first.get("words")), beginnings)


def _chain(line: dict[str, Any]) -> uuid.UUID:
    try:
        return uuid.UUID(line["chain"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unusable("The export has a damaged line.") from error


def _lines(session: Session, *, with_words: bool) -> Iterable[dict[str, Any]]:
    yield {"format": FORMAT, "made_at": plain(now()), "words": with_words}
    for chain_id in log.chains(session):
        for logged in log.links(session, chain_id):
            yield _line(logged, with_words=with_words)
    for finding in log.loose(session):
        chain, sentence = str(finding.chain_id), finding.sentence
        yield {"type": "loose", "chain": chain, "row": finding.row, "sentence": sentence}
    for one in checkpoints.stored(session):
        yield {"type": "checkpoint", **checkpoints.to_json(one)}


def _line(logged: Logged, *, with_words: bool) -> dict[str, Any]:
    link, row = logged.link, logged.row
    shown = with_words and link.words_hash is not None
    return {
        "type": "link",
        "chain": str(link.chain_id),
        "number": link.number,
        "kind": link.kind,
        "key": link.key,
        "layout": link.layout,
        "fields": row.fields if row else None,
        "words": row.words if row and shown else None,
        "erased": link.words_hash is not None and link.salt is None,
        "fields_hash": link.fields_hash.hex(),
        "words_hash": _hex(link.words_hash),
        "salt": _hex(link.salt) if shown else None,
        "sealed_at": plain(link.sealed_at),
        "previous": link.previous.hex(),
        "digest": link.digest.hex(),
    }


def _logged(line: dict[str, Any]) -> Logged:
    try:
        link = Link(
            chain_id=uuid.UUID(line["chain"]),
            number=int(line["number"]),
            kind=str(line["kind"]),
            key=str(line["key"]),
            layout=int(line["layout"]),
            fields_hash=bytes.fromhex(line["fields_hash"]),
            words_hash=_bytes(line["words_hash"]),
            salt=_bytes(line["salt"]),
            sealed_at=datetime.fromisoformat(line["sealed_at"]),
            previous=bytes.fromhex(line["previous"]),
            digest=bytes.fromhex(line["digest"]),
        )
        row = None if line["fields"] is None else Row(dict(line["fields"]), line["words"])
        is_withheld = link.words_hash is not None and link.salt is None and not line["erased"]
        source = sources.source(link.kind, link.layout)
        person = person_of(row, source.person if source else None)
        return Logged(link, row, person, words_withheld=is_withheld)
    except (KeyError, TypeError, ValueError) as error:
        raise Unusable("The export has a damaged line.") from error


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else bytes.fromhex(value)
