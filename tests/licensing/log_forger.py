"""Somebody with every right on the database, who switches the triggers off and bends the log."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg

from licensing.chain.links import Link, digest_of, hash_fields, hash_words
from licensing.chain.rows import Row, read
from licensing.chain.sources import newest
from licensing.db import Database

COLUMNS = tuple(Link.__dataclass_fields__)


class Forger:
    """Writes past every trigger and foreign key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run(self, *statements: str) -> None:
        """Do something that the database would refuse everybody else."""
        with psycopg.connect(self._database.url) as connection:
            connection.execute("SET session_replication_role = replica")
            for statement in statements:
                connection.execute(statement)

    def place(self, kind: str, key: int | str) -> int:
        """The number of a row's link."""
        return self._link("kind = %s AND key = %s", kind, str(key)).number

    def relink(self, number: int) -> None:
        """Make a link fit the row as it is now, as somebody would who has read our code."""
        link = self._link("number = %s AND kind = 'verdict'", number)
        row = self._row(link)
        assert link.salt is not None
        assert row.words is not None
        self._rewrite(
            replace(
                link,
                fields_hash=hash_fields(row.fields),
                words_hash=hash_words(row.words, link.salt),
            )
        )

    def relink_all(self, first: int) -> None:
        """Write the whole chain anew from a link to its end."""
        last = self._one("SELECT max(number) FROM chain_link WHERE chain_id = %s", self._chain())
        for number in range(first, last + 1):
            before = self._link("number = %s AND chain_id = %s", number - 1, self._chain())
            link = self._link("number = %s AND chain_id = %s", number, self._chain())
            row = self._row(link)
            self._rewrite(
                replace(link, fields_hash=hash_fields(row.fields), previous=before.digest)
            )

    def shift(self, first: int, by: int) -> None:
        """Give all links from a place on other numbers."""
        chain = self._chain()
        self.run(
            f"UPDATE chain_link SET number = number + 100000"
            f" WHERE number >= {first} AND chain_id = '{chain}'",
            f"UPDATE chain_link SET number = number - 100000 + {by}"
            f" WHERE number > 100000 AND chain_id = '{chain}'",
        )

    def insert(self, number: int, key: int) -> None:
        """Put a link for a verdict into a gap, as if it had always been there."""
        before = self._link("number = %s AND chain_id = %s", number - 1, self._chain())
        link = replace(before, number=number, kind="verdict", key=str(key), layout=1)
        row, salt = self._row(link), bytes(32)
        assert row.words is not None
        link = replace(
            link,
            fields_hash=hash_fields(row.fields),
            salt=salt,
            words_hash=hash_words(row.words, salt),
            previous=before.digest,
        )
        link = replace(link, digest=digest_of(link))
        marks = ", ".join(["%s"] * len(COLUMNS))
        with psycopg.connect(self._database.url) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute(
                f"INSERT INTO chain_link ({', '.join(COLUMNS)}) VALUES ({marks})",
                [getattr(link, name) for name in COLUMNS],
            )

    def _rewrite(self, link: Link) -> None:
        with psycopg.connect(self._database.url) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute(
                "UPDATE chain_link SET fields_hash = %s, words_hash = %s, previous = %s,"
                " digest = %s WHERE chain_id = %s AND number = %s",
                (
                    link.fields_hash,
                    link.words_hash,
                    link.previous,
                    digest_of(link),
                    link.chain_id,
                    link.number,
                ),
            )

    def _chain(self) -> Any:
        return self._one("SELECT chain_id FROM chain_link WHERE kind = 'verdict' LIMIT 1")

    def _link(self, where: str, *values: Any) -> Link:
        with psycopg.connect(self._database.url) as connection:
            found = connection.execute(
                f"SELECT {', '.join(COLUMNS)} FROM chain_link WHERE {where}", values
            ).fetchone()
        assert found is not None
        return Link(*found)

    def _row(self, link: Link) -> Row:
        with self._database.read() as session:
            return read(session, newest(link.kind), [link.key])[link.key]

    def _one(self, query: str, *values: Any) -> Any:
        with psycopg.connect(self._database.url) as connection:
            found = connection.execute(query, values).fetchone()
        assert found is not None
        return found[0]


def edit_lines(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Bend an export instead of the database."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    change(lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
