"""A month's file for whoever asks: a closed month's stored bytes, or an open month as of now.

Both are known before the first byte leaves: size, SHA-256 and control totals. An open month is
written to a temporary file first, out of the same snapshot that proved its totals; it says that it
is not final. Nothing here holds a connection while a slow client reads.
"""

import json
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO

from sqlalchemy import func, select

from licensing.bills import close
from licensing.bills.control import Totals, checked_totals
from licensing.bills.formats import Format, Material, find_format
from licensing.bills.months import month_bounds
from licensing.bills.render import Tally
from licensing.bills.snapshot import snapshot
from licensing.bills.tables import BillFile, BillMonth
from licensing.db import Database
from licensing.errors import NotFound
from licensing.seats import Organisation

READ_BYTES = 1 << 20  # of a temporary file at once


@dataclass(frozen=True)
class Export:
    """A file that is ready to be sent. Read `chunks()` once, or `close()` it unread."""

    file_name: str
    media_type: str
    size_bytes: int
    sha256: str
    is_final: bool
    totals_json: str
    _read: Callable[[], Iterator[bytes]] = field(repr=False)
    _resources: ExitStack = field(default_factory=ExitStack, repr=False)

    @property
    def sha256_line(self) -> str:
        """What stands in the file beside it, as `sha256sum --check` reads it."""
        return f"{self.sha256}  {self.file_name}\n"

    def chunks(self) -> Iterator[bytes]:
        """The file, about a megabyte at a time."""
        with self._resources:
            yield from self._read()

    def close(self) -> None:
        """Forget the file; harmless after it was read."""
        self._resources.close()


def export(
    database: Database, organisation_id: uuid.UUID, year: int, month: int, format_name: str
) -> Export:
    """Prepare a month's file. Raises `NotFound`, `InvalidMonth` and `BooksDiffer`."""
    format_ = find_format(format_name)
    month_bounds(year, month)
    with database.read() as session:
        bill = close.find_month(session, organisation_id, year, month)
        stored = {file.format: file for file in close.files(session, organisation_id, year, month)}
    if bill is not None and bill.closed_at is not None:
        if format_.name not in stored:
            raise NotFound(f"This month was closed before there was a format {format_.name!r}.")
        return _closed(database, bill, stored[format_.name], format_)
    return _open(database, organisation_id, year, month, format_)


def write_files(export_: Export, folder: Path) -> list[Path]:
    """Write the file into a folder, its SHA-256 and its control totals beside it."""
    path = folder / export_.file_name
    with path.open("wb") as file:
        for chunk in export_.chunks():
            file.write(chunk)
    beside = {
        f"{export_.file_name}.sha256": export_.sha256_line,
        f"{export_.file_name}.totals.json": export_.totals_json,
    }
    for name, words in beside.items():
        (folder / name).write_text(words, encoding="utf-8")
    return [path, *(folder / name for name in beside)]


def _closed(database: Database, bill: BillMonth, stored: BillFile, format_: Format) -> Export:
    def read() -> Iterator[bytes]:
        number = 0
        while True:
            with database.read() as session:
                content = close.part(session, stored.id, number)
            if content is None:
                return
            yield content
            number += 1

    assert bill.movements is not None
    totals = Totals(
        lines=bill.lines or 0,
        generations=bill.generations or 0,
        images=bill.images or 0,
        amount_micros=bill.amount_micros or 0,
        opening_micros=bill.opening_micros or 0,
        closing_micros=bill.closing_micros or 0,
        movements=bill.movements,
    )
    about = _About(
        organisation_id=bill.organisation_id,
        organisation_name=bill.organisation_name,
        starts_on=bill.starts_on,
        status="closed",
        at=bill.closed_at,
        file_name=format_.file_name(bill.starts_on.year, bill.starts_on.month),
        profile=stored.profile,
        rows=stored.rows,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
    )
    return _ready(format_, about, totals, read)


def _open(
    database: Database, organisation_id: uuid.UUID, year: int, month: int, format_: Format
) -> Export:
    start, end = month_bounds(year, month)
    resources = ExitStack()
    with resources:
        file = resources.enter_context(
            tempfile.TemporaryFile(prefix="atelier-export-")  # noqa: SIM115 - it is a context
        )
        tally = Tally(file.write)
        with snapshot(database) as books:
            name = books.scalars(
                select(Organisation.name).where(Organisation.id == organisation_id)
            ).one_or_none()
            if name is None:
                raise NotFound("There is no such organisation.")
            at = books.scalars(select(func.now())).one()
            totals = checked_totals(books, organisation_id, start, end)
            format_.write(Material(books, organisation_id, name, start, end), tally)
        about = _About(
            organisation_id=organisation_id,
            organisation_name=name,
            starts_on=start.date(),
            status="open",
            at=at,
            file_name=format_.file_name(year, month),
            profile=format_.profile,
            rows=tally.rows,
            size_bytes=tally.size_bytes,
            sha256=tally.sha256,
        )
        return _ready(format_, about, totals, lambda: _read(file), resources.pop_all())


def _read(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(READ_BYTES):
        yield chunk


@dataclass(frozen=True)
class _About:
    """What the control totals say about the file itself."""

    organisation_id: uuid.UUID
    organisation_name: str
    starts_on: date
    status: str
    at: datetime | None
    file_name: str
    profile: str
    rows: int
    size_bytes: int
    sha256: str


def _ready(
    format_: Format,
    about: _About,
    totals: Totals,
    read: Callable[[], Iterator[bytes]],
    resources: ExitStack | None = None,
) -> Export:
    assert about.at is not None
    words = {
        "file": about.file_name,
        "sha256": about.sha256,
        "size_bytes": about.size_bytes,
        "rows": about.rows,
        "profile": about.profile,
        "organisation_id": str(about.organisation_id),
        "organisation_name": about.organisation_name,
        "month": f"{about.starts_on:%Y-%m}",
        "status": about.status,
        "as_of": about.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        **totals.as_json(),
    }
    return Export(
        file_name=about.file_name,
        media_type=format_.media_type,
        size_bytes=about.size_bytes,
        sha256=about.sha256,
        is_final=about.status == "closed",
        totals_json=json.dumps(words, indent=2, ensure_ascii=False) + "\n",
        _read=read,
        _resources=resources or ExitStack(),
    )
