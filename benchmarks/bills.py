"""A month with a million usage lines: how long it takes to close, to export and to look at.

Runs a PostgreSQL of its own in a temporary folder, on the disk and with its durable settings. The
bars: the month closes in 60 s; the CSV takes at most three times as long as `COPY ... TO STDOUT` of
the same rows in the same run, and 150 MB of memory beside what the process has; the sums that a
finance page asks for come within a second. Prints figures; asserts nothing.

    python benchmarks/bills.py [lines]
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from licensing import bills, ledger, seats  # noqa: E402 - the repository is on the path from here
from licensing.db import Database, connect  # noqa: E402
from licensing.seats import Identity, Member, Role  # noqa: E402
from licensing.usage_sums import By, drill, summary  # noqa: E402
from migrations.run import upgrade  # noqa: E402
from webapp.host.servers import start_postgres  # noqa: E402

LINES = 1_000_000
MEMBERS = 40
YEAR, MONTH = 2025, 10
START, END = datetime(2025, 10, 1, tzinfo=UTC), datetime(2025, 11, 1, tzinfo=UTC)
SAMPLES = 3
CLOSE_SECONDS_MAX = 60
COPY_TIMES_MAX = 3
MEMORY_MB_MAX = 150
PAGE_SECONDS_MAX = 1
MEGABYTE = 1_000_000


def main() -> None:
    """Measure and print; called with `--child`, export one file and print the memory it took."""
    if sys.argv[1:2] == ["--child"]:
        url, organisation_id, name = sys.argv[2:]
        print(exported(url, uuid.UUID(organisation_id), name))
        return
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else LINES
    with tempfile.TemporaryDirectory(prefix="atelier-bench-") as folder:
        server = start_postgres(Path(folder) / "postgres")
        try:
            measure(server.url, lines)
        finally:
            server.stop()


def measure(url: str, lines: int) -> None:
    """Fill a database with a month and measure what is done with it."""
    upgrade(url)
    database = connect(url)
    owner = people(database)
    organisation_id = owner.organisation_id
    seconds = timed(lambda: fill(url, organisation_id, lines))
    print(f"{lines:,} settled generations of {MEMBERS} members written in {seconds:.0f} s")

    copy = statistics.median(copied(url, organisation_id) for _ in range(SAMPLES))
    print(f"COPY of the same rows to a client: {copy:.2f} s")
    page(database, organisation_id)
    report(url, organisation_id, "open month", copy)
    seconds = timed(lambda: bills.close_month(database, organisation_id, YEAR, MONTH))
    print(f"close, with all its files: {seconds:.1f} s (at most {CLOSE_SECONDS_MAX})")
    again = timed(lambda: bills.close_month(database, organisation_id, YEAR, MONTH))
    print(f"close again: {again * 1000:.0f} ms")
    report(url, organisation_id, "closed month", copy)
    with psycopg.connect(url) as connection:
        sizes = "usage_line", "usage_day", "bill_file_part"
        for table in sizes:
            row = connection.execute(f"SELECT pg_total_relation_size('{table}')").fetchone()
            print(f"{table}: {(row or [0])[0] / MEGABYTE:,.0f} MB")
    database.dispose()


def report(url: str, organisation_id: uuid.UUID, words: str, copy_seconds: float) -> None:
    """Export each file in a process of its own."""
    for name in bills.FORMATS:
        runs = [child(url, organisation_id, name) for _ in range(SAMPLES if name == "csv" else 1)]
        seconds, size, memory = (statistics.median(column) for column in zip(*runs, strict=True))
        bar = f" = {seconds / copy_seconds:.1f} x COPY (at most {COPY_TIMES_MAX})"
        print(
            f"{words}, {name}: {seconds:.2f} s{bar if name == 'csv' else ''}, {size:,.0f} MB, "
            f"{memory:+.0f} MB of memory (at most {MEMORY_MB_MAX})"
        )


def page(database: Database, organisation_id: uuid.UUID) -> None:
    """Ask for what a finance page shows: totals, each grouping, the chart, and lines behind it."""

    def ask() -> None:
        with database.read() as session:
            summary(session, organisation_id, START, END)
            for by in By:
                summary(session, organisation_id, START, END, by=by)
            summary(session, organisation_id, START, END, by=(By.DAY, By.MEMBER))
            drill(session, organisation_id, START, END)

    def deep() -> None:
        with database.read() as session:
            drill(session, organisation_id, START, END, page=10_000)

    def filtered() -> None:
        with database.read() as session:
            [first, *_] = summary(session, organisation_id, START, END, by=By.PROJECT)
            drill(session, organisation_id, START, END, filters={By.PROJECT: first.key}, page=20)

    for words, act in {
        "sums of a finance page, all groupings": ask,
        "page 10,000 of the lines": deep,
        "page 20 of one project's lines": filtered,
    }.items():
        seconds = statistics.median(timed(act) for _ in range(SAMPLES))
        print(f"{words}: {seconds * 1000:.0f} ms (at most {PAGE_SECONDS_MAX} s)")


def timed(act: Callable[[], object]) -> float:
    """Return the seconds that `act` took."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def child(url: str, organisation_id: uuid.UUID, name: str) -> tuple[float, float, float]:
    """Export in a fresh process: seconds, megabytes of file, megabytes of memory more."""
    command = [sys.executable, __file__, "--child", url, str(organisation_id), name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, size, memory = map(float, done.stdout.split())
    return seconds, size, memory


def exported(url: str, organisation_id: uuid.UUID, name: str) -> str:
    """Read a file to its end; returns seconds, size and memory (MB)."""
    database = connect(url)
    with database.read() as session:
        summary(session, organisation_id, START, END)  # connected and warm, as a server is
    before = memory_kilobytes()
    size = 0

    def read() -> None:
        nonlocal size
        for chunk in bills.export(database, organisation_id, YEAR, MONTH, name).chunks():
            size += len(chunk)

    seconds = timed(read)
    grown = memory_kilobytes() - before
    return f"{seconds} {size / MEGABYTE} {grown / 1000}"


def memory_kilobytes() -> int:
    """The most memory that this process has had at once; the parent's does not count."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found[1]) if found else 0


def copied(url: str, organisation_id: uuid.UUID) -> float:
    """Copy the month's rows out as they are, in the file's order, and forget them."""
    query = (
        f"COPY (SELECT * FROM usage_line WHERE organisation_id = '{organisation_id}' AND "
        f"at >= '{START}' AND at < '{END}' ORDER BY at, id) TO STDOUT (FORMAT csv)"
    )
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        start = time.perf_counter()
        with cursor.copy(query) as copy:
            for _ in copy:
                pass
        return time.perf_counter() - start


def people(database: Database) -> Member:
    """Found an organisation; returns its owner."""
    with database.transaction() as session:
        organisation = seats.create_organisation(session, name="Bench", seat_ceiling=MEMBERS)
        members = [
            seats.add_member(
                session,
                organisation.id,
                Identity(
                    issuer="bench",
                    subject=str(number),
                    email=f"member-{number}@bench.example",
                    email_verified=True,
                    name=f"Member Number {number}" if number % 5 else f"Zoë 山田 {number}",
                ),
                role=Role.CREATOR if number else Role.OWNER,
                seated=True,
            )
            for number in range(MEMBERS)
        ]
        ledger.top_up(
            session, organisation.id, 100_000 * 1_000_000, key="b", author_id=None, note=""
        )
    return members[0]


def fill(url: str, organisation_id: uuid.UUID, lines: int) -> None:
    """Write holds, transfers and lines as settlements leave them, in bulk."""
    values = {"organisation_id": organisation_id, "lines": lines, "start": START}
    with psycopg.connect(url) as connection:
        for statement in FILL:
            connection.execute(statement, values if "%(" in statement else None)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


FILL = (
    "SET statement_timeout = 0",
    f"""
    CREATE TEMPORARY TABLE made AS
    SELECT number, gen_random_uuid() AS hold_id, gen_random_uuid() AS generation_id,
           %(start)s + number * (interval '31 days' / %(lines)s) AS at,
           1 + number %% 4 AS images, 15000 * (1 + number %% 4)::bigint AS amount_micros,
           (number::bigint * 7919) %% {MEMBERS} AS member_number
      FROM generate_series(0, %(lines)s - 1) AS number
    """,
    """
    CREATE TEMPORARY TABLE who AS
    SELECT row_number() OVER (ORDER BY subject::int) - 1 AS member_number, id, name, email
      FROM member WHERE organisation_id = %(organisation_id)s
    """,
    """
    INSERT INTO hold (id, organisation_id, account_id, member_id, generation_id, amount_micros,
                      price_version, state, settled_micros, created_at, expires_at, resolved_at)
    SELECT hold_id, account.organisation_id, account.id, who.id, generation_id, amount_micros,
           '2026-11', 'settled', amount_micros, made.at - interval '20 s',
           made.at + interval '1 day', made.at
      FROM made JOIN who USING (member_number), account
     WHERE account.organisation_id = %(organisation_id)s AND account.kind = 'wallet'
     ORDER BY number
    """,
    """
    INSERT INTO transfer (organisation_id, kind, source_id, destination_id, amount_micros, key,
                          hold_id, note, at)
    SELECT wallet.organisation_id, 'settle', wallet.id, revenue.id, amount_micros,
           'settle:' || hold_id, hold_id, '', made.at
      FROM made, account AS wallet JOIN account AS revenue USING (organisation_id)
     WHERE organisation_id = %(organisation_id)s AND wallet.kind = 'wallet'
       AND revenue.kind = 'revenue'
     ORDER BY number
    """,
    """
    UPDATE account SET settled_micros = settled_micros - (SELECT sum(amount_micros) FROM made)
     WHERE organisation_id = %(organisation_id)s AND kind = 'wallet'
    """,
    """
    INSERT INTO usage_line (generation_id, organisation_id, member_id, member_name, member_email,
                            cost_centre, project, model, price_class, images, width, height,
                            unit_price_micros, amount_micros, price_version, at)
    SELECT generation_id, %(organisation_id)s, who.id, who.name, who.email,
           'CC-' || member_number %% 5,
           CASE WHEN number %% 3 = 0 THEN 'Campaign ' || number %% 7 END,
           (ARRAY['pocket-turbo', 'pocket-raw', 'krea-2-turbo'])[1 + number %% 3], 'turbo',
           images, 1024, 1024, 15000, amount_micros, '2026-11', at
      FROM made JOIN who USING (member_number) ORDER BY number
    """,
)

if __name__ == "__main__":
    main()
