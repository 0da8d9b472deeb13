"""A month as a file: rows copied out of the database by a profile, as CSV or as Parquet.

The database writes each row's text (`COPY ... TO STDOUT`), so that a million rows take seconds and
no more memory than one piece of the file. The same rows give the same bytes: CSV by construction,
Parquet for one release of its library, which is why closed months keep their files.
"""

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from licensing.bills.profiles import Kind, Profile, copy_sql

PIECE_BYTES = 1 << 20  # of a CSV that is written at once, and of text that is parsed at once
ROWS_AT_ONCE = 2_000  # joined before they are counted into a piece; about half a megabyte
ROW_GROUP_ROWS = 16_384  # of a Parquet file: small enough for its columns to stay in memory
MARK = b"\xef\xbb\xbf"  # by which spreadsheets know that the text is UTF-8

Write = Callable[[bytes], object]


class Tally:
    """Passes bytes on to `write` and keeps their number, their SHA-256 and the number of rows."""

    def __init__(self, write: Write) -> None:
        """Begin with an empty file."""
        self._write = write
        self._digest = hashlib.sha256()
        self.size_bytes = 0
        self.rows = 0

    def write(self, content: bytes) -> None:
        """Take the next bytes of the file."""
        self._digest.update(content)
        self.size_bytes += len(content)
        self._write(content)

    @property
    def sha256(self) -> str:
        """The hash of what was written so far, in hexadecimal digits."""
        return self._digest.hexdigest()


@dataclass(frozen=True)
class Rows:
    """Where a profile's rows come from: a connection in a transaction, and the query's values."""

    connection: psycopg.Connection[Any]
    values: Mapping[str, object]

    def copied(self, profile: Profile, *, is_for_spreadsheets: bool) -> Iterator[list[bytes]]:
        """The rows as CSV lines that end in a line feed, some thousand at a time."""
        for part in profile.parts:
            query = copy_sql(part, is_for_spreadsheets=is_for_spreadsheets)
            with self.connection.cursor() as cursor:
                statement = f"COPY ({query}) TO STDOUT (FORMAT csv)".encode()
                with cursor.copy(statement, self.values) as copy:
                    found: list[bytes] = []
                    for row in copy:
                        found.append(bytes(row))
                        if len(found) == ROWS_AT_ONCE:
                            yield found
                            found = []
                    yield found


def write_csv(rows: Rows, profile: Profile, tally: Tally) -> None:
    """Write RFC 4180 CSV: a line of names, CRLF, quotes where needed, no formulas.

    There is no line of totals, so that the sum of a column is the sum.
    """
    head = ",".join(column.name for column in profile.columns)
    piece = io.BytesIO()
    piece.write((MARK if profile.has_mark else b"") + head.encode() + b"\r\n")
    for found in rows.copied(profile, is_for_spreadsheets=True):
        # Only the end of a row is a line's end; a line feed inside quotes is a person's.
        piece.write(b"".join([row[:-1] + b"\r\n" for row in found]))
        tally.rows += len(found)
        if piece.tell() >= PIECE_BYTES:
            tally.write(piece.getvalue())
            piece = io.BytesIO()
    tally.write(piece.getvalue())


def write_parquet(rows: Rows, profile: Profile, tally: Tally) -> None:
    """Write Parquet with typed columns and the profile's name in the file's own metadata."""
    # Imported here: it costs a fifth of a second and 40 MB, and pages need none of it.
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import csv, parquet  # noqa: PLC0415

    types: dict[Kind, pa.DataType] = {
        "text": pa.string(),
        "words": pa.string(),
        "count": pa.int64(),
        "decimal": pa.decimal128(20, 6),
        "moment": pa.timestamp("us", tz="UTC"),
    }
    names = [column.name for column in profile.columns]
    schema = pa.schema(
        [pa.field(column.name, types[column.kind]) for column in profile.columns],
        metadata={"profile": profile.name},
    )
    text = _Text(rows.copied(profile, is_for_spreadsheets=False))
    reader: Iterable[pa.RecordBatch] = ()
    if text.has_more():  # of nothing it would say that it is no CSV
        reader = csv.open_csv(
            pa.PythonFile(text, mode="r"),
            read_options=csv.ReadOptions(
                use_threads=False, block_size=PIECE_BYTES, column_names=names
            ),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=schema,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    sink = pa.PythonFile(_Sink(tally), mode="w")
    with parquet.ParquetWriter(sink, schema, version="2.6", compression="zstd") as writer:
        waiting: list[pa.RecordBatch] = []
        for batch in reader:
            waiting.append(batch)
            tally.rows += batch.num_rows
            if sum(each.num_rows for each in waiting) >= ROW_GROUP_ROWS:
                writer.write_table(pa.Table.from_batches(waiting, schema))
                waiting = []
        writer.write_table(pa.Table.from_batches(waiting, schema))


class _Text(io.RawIOBase):
    """The copied rows as a file to read from."""

    def __init__(self, rows: Iterator[list[bytes]]) -> None:
        self._rows = rows
        self._left = b""

    def readable(self) -> bool:
        return True

    def has_more(self) -> bool:
        """Say whether a byte is left to read."""
        return bool(self._fill(1))

    def read(self, size: int = -1) -> bytes:
        self._fill(size)
        size = len(self._left) if size < 0 else size
        given, self._left = self._left[:size], self._left[size:]
        return given

    def _fill(self, size: int) -> bytes:
        while len(self._left) < size or size < 0:
            found = next(self._rows, None)
            if found is None:
                break
            self._left += b"".join(found)
        return self._left


class _Sink(io.RawIOBase):
    """A tally as a file to write to."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._tally.write(bytes(content))
        return len(content)

    def tell(self) -> int:
        return self._tally.size_bytes
