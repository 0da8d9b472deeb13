"""Close a month: seal it, prove it, write its files, and never touch it again.

Sealing is short. It waits for the transactions that are writing lines at this moment and makes
every later one see the seal: the database then dates what settles late into the open month. What is
left, however long it takes, works on rows that cannot change any more. It is one transaction: a
crash leaves a sealed month that the next call closes, and of two closers the second one waits and
finds it done.
"""

import uuid
from datetime import date, datetime, timedelta

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from licensing.bills.clock import read_clock
from licensing.bills.control import Totals, checked_totals, compare_lines
from licensing.bills.formats import FORMATS, Format, Material
from licensing.bills.months import first_day, month_before, month_bounds
from licensing.bills.render import Tally
from licensing.bills.snapshot import be_patient, snapshot
from licensing.bills.tables import BillFile, BillFilePart, BillMonth
from licensing.db import Database
from licensing.errors import AtelierError, Conflict, NotFound
from licensing.seats import Organisation

GRACE = timedelta(hours=2)  # after a month's end, before the beat closes it: time to look at it
PART_BYTES = 4 << 20  # of a stored file, before compression: what one read of it costs in memory
COMPRESSION = "zstd"
SEAL_LOCK_CLASS = 1010  # as in the trigger that dates lines; the second key is the organisation


def close_month(
    database: Database,
    organisation_id: uuid.UUID,
    year: int,
    month: int,
    *,
    clock_is_right: bool = False,
) -> BillMonth:
    """Close a month that has ended, and return it; a closed month is returned as it is.

    Raises `NotFound` for an organisation that is not there, `Conflict` for a month that has not
    ended by the database's clock, `ClockJumped` if that clock did and nobody says `clock_is_right`,
    `BooksDiffer` if lines and ledger disagree, `InvalidMonth`.
    """
    start, end = month_bounds(year, month)
    with database.transaction() as session:
        is_sealed = session.get(BillMonth, (organisation_id, start.date())) is not None
        if not is_sealed:
            read_clock(session, is_vouched_for=clock_is_right)
    with database.transaction() as session:
        _seal(session, organisation_id, start.date(), end)
    with database.transaction() as session:
        be_patient(session)
        bill = session.scalars(
            select(BillMonth)
            .where(
                BillMonth.organisation_id == organisation_id, BillMonth.starts_on == start.date()
            )
            .with_for_update()
        ).one()
        if bill.closed_at is None:
            with snapshot(database) as books:
                compare_lines(books, organisation_id, start, end)
                totals = checked_totals(books, organisation_id, start, end)
                _close(session, bill, totals)
                _write_files(session, bill, books)
    return bill


def close_due(database: Database, at: datetime) -> list[BillMonth]:
    """Close the month that ended `GRACE` before `at`, and older ones left open, of everybody.

    One organisation whose books differ keeps its month open; the others are closed. Its error is
    raised when all had their turn. Raises `ClockJumped`, and closes nothing, if the clock did.
    """
    with database.transaction() as session:
        read_clock(session)
    year, month = month_before(at - GRACE)
    with database.read() as session:
        due = session.execute(
            _DUE, {"starts_on": first_day(year, month), "end": month_bounds(year, month)[1]}
        ).all()
    closed = []
    failure: Exception | None = None
    for organisation_id, starts_on in due:
        try:
            closed.append(close_month(database, organisation_id, starts_on.year, starts_on.month))
        except AtelierError as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return closed


def find_month(
    session: Session, organisation_id: uuid.UUID, year: int, month: int
) -> BillMonth | None:
    """The month if it is sealed or closed (`closed_at`), else None. Raises `InvalidMonth`."""
    return session.get(BillMonth, (organisation_id, first_day(year, month)))


def files(session: Session, organisation_id: uuid.UUID, year: int, month: int) -> list[BillFile]:
    """The files of a closed month with their hashes; none as long as it is open."""
    query = select(BillFile).where(
        BillFile.organisation_id == organisation_id,
        BillFile.starts_on == first_day(year, month),
    )
    return list(session.scalars(query.order_by(BillFile.format)))


def part(session: Session, file_id: uuid.UUID, number: int) -> bytes | None:
    """Read piece `number` (from 0) of a stored file; None after the last one."""
    found = session.get(BillFilePart, (file_id, number))
    if found is None:
        return None
    import pyarrow as pa  # noqa: PLC0415 - heavy, as in `render`

    content: bytes = pa.decompress(
        found.content, decompressed_size=found.size_bytes, codec=COMPRESSION, asbytes=True
    )
    return content


def _seal(session: Session, organisation_id: uuid.UUID, starts_on: date, end: datetime) -> None:
    """Let no line be dated into the month any more; harmless if that is so already."""
    if session.get(BillMonth, (organisation_id, starts_on)) is not None:
        return
    # The organisation first: its row stands before every other lock.
    name = session.scalars(
        select(Organisation.name)
        .where(Organisation.id == organisation_id)
        .with_for_update(read=True, key_share=True)
    ).one_or_none()
    if name is None:
        raise NotFound("There is no such organisation.")
    at = session.scalars(select(func.clock_timestamp())).one()
    if at < end:
        raise Conflict(
            f"{starts_on:%B %Y} has not ended: it can be closed from {end:%Y-%m-%d %H:%M} UTC on."
        )
    values = {
        "organisation_id": organisation_id,
        "starts_on": starts_on,
        "ends_at": end,
        "organisation_name": name,
        "sealed_at": at,
        "lock": SEAL_LOCK_CLASS,
    }
    session.execute(_WAIT_FOR_WRITERS, values)
    session.execute(_SEAL, values)


def _close(session: Session, bill: BillMonth, totals: Totals) -> None:
    closed_at = session.scalars(select(func.clock_timestamp())).one()
    for name, value in totals.as_json().items():
        setattr(bill, name, value)
    bill.closed_at = closed_at
    session.flush()


def _write_files(session: Session, bill: BillMonth, books: Session) -> None:
    year, month = bill.starts_on.year, bill.starts_on.month
    start, end = month_bounds(year, month)
    hashes: list[tuple[str, str]] = []
    for format_ in FORMATS.values():
        material = Material(
            books,
            bill.organisation_id,
            bill.organisation_name,
            start,
            end,
            bill.closed_at,
            tuple(hashes),
        )
        file = _write_file(session, bill, format_, material)
        hashes.append((format_.file_name(year, month), file.sha256))


def _write_file(session: Session, bill: BillMonth, format_: Format, material: Material) -> BillFile:
    file_id = uuid.uuid4()
    shelf = _Shelf(session, file_id)
    tally = Tally(shelf.add)
    format_.write(material, tally)
    shelf.finish()
    file = BillFile(
        id=file_id,
        organisation_id=bill.organisation_id,
        starts_on=bill.starts_on,
        format=format_.name,
        profile=format_.profile,
        rows=tally.rows,
        size_bytes=tally.size_bytes,
        sha256=tally.sha256,
    )
    session.add(file)
    session.flush()
    return file


class _Shelf:
    """Stores the bytes of one file as compressed parts, in order."""

    def __init__(self, session: Session, file_id: uuid.UUID) -> None:
        self._session = session
        self._file_id = file_id
        self._waiting = bytearray()
        self._number = 0

    def add(self, content: bytes) -> None:
        self._waiting += content
        while len(self._waiting) >= PART_BYTES:
            self._store(bytes(self._waiting[:PART_BYTES]))
            del self._waiting[:PART_BYTES]

    def finish(self) -> None:
        if self._waiting:
            self._store(bytes(self._waiting))

    def _store(self, content: bytes) -> None:
        import pyarrow as pa  # noqa: PLC0415 - heavy, as in `render`

        values = {
            "file_id": self._file_id,
            "number": self._number,
            "size_bytes": len(content),
            "content": pa.compress(content, codec=COMPRESSION, asbytes=True),
        }
        self._session.execute(_STORE, values)
        self._number += 1


# Granted when every transaction that shares it has ended: who comes later sees the seal.
_WAIT_FOR_WRITERS = text(
    "SELECT pg_advisory_xact_lock(:lock, hashtext(CAST(:organisation_id AS text)))"
)

_SEAL = text(
    """
    INSERT INTO bill_month (organisation_id, starts_on, ends_at, organisation_name, sealed_at)
    VALUES (:organisation_id, :starts_on, :ends_at, :organisation_name, :sealed_at)
    ON CONFLICT (organisation_id, starts_on) DO NOTHING
    """
)

_STORE = text(
    """
    INSERT INTO bill_file_part (file_id, number, size_bytes, content)
    VALUES (:file_id, :number, :size_bytes, :content)
    """
)

# Every month from the organisation's first one on that is not closed.
_DUE = text(
    """
    SELECT organisation.id, month::date
      FROM organisation
     CROSS JOIN LATERAL generate_series(
         date_trunc('month', least(
             organisation.created_at,
             (SELECT min(day) FROM usage_day WHERE organisation_id = organisation.id)
         ) AT TIME ZONE 'UTC'),
         CAST(:starts_on AS timestamp), interval '1 month') AS month
     WHERE NOT EXISTS (SELECT FROM bill_month
                        WHERE organisation_id = organisation.id AND starts_on = month::date
                          AND closed_at IS NOT NULL)
     ORDER BY month, organisation.id
    """
)
