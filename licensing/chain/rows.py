"""Rows of logged tables, read as they are hashed: fields and words as plain JSON values."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Text, column, select, table
from sqlalchemy import text as sql
from sqlalchemy.orm import Session

from licensing.chain.canonical import plain
from licensing.chain.sources import Source


@dataclass(frozen=True)
class Row:
    """A row's content; `words` is None where its table has none."""

    fields: dict[str, Any]
    words: dict[str, Any] | None

    @property
    def is_blank(self) -> bool:
        """Whether nothing is left of the words."""
        return not any((self.words or {}).values())


def read(session: Session, source: Source, keys: Collection[str]) -> dict[str, Row]:
    """The rows that are there, by key."""
    found = session.execute(_query(source).where(_key(source).in_(_typed(source, keys)))).mappings()
    rows = {}
    for row in found:
        fields = {name: plain(row[name]) for name in source.fields}
        words = {name: plain(row[name]) for name in source.words} if source.words else None
        rows[str(row["id"])] = Row(fields, words)
    return rows


def unlinked(session: Session, source: Source, limit: int) -> Iterator[str]:
    """Keys of rows that neither have a link nor wait for one, the first `limit`."""
    query = (
        select(_key(source))
        .select_from(table(source.kind))
        .where(sql(source.only), sql(_UNLINKED))
        .order_by(column("id"))
        .limit(limit)
    )
    return (str(key) for key in session.scalars(query, {"kind": source.kind}))


def _query(source: Source) -> Any:
    columns: list[Any] = [column(name) for name in (*source.fields, *source.words)]
    return select(*columns).select_from(table(source.kind))


def _key(source: Source) -> Any:
    return column("id", BigInteger if source.key_type == "bigint" else Text)


def _typed(source: Source, keys: Collection[str]) -> list[Any]:
    return [int(key) for key in keys] if source.key_type == "bigint" else list(keys)


_UNLINKED = """
    NOT EXISTS (SELECT 1 FROM chain_link WHERE kind = :kind AND key = id::text)
    AND NOT EXISTS (SELECT 1 FROM chain_pending WHERE kind = :kind AND key = id::text)
"""
