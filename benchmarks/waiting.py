"""How fast a worker works a queue off: pictures a second, waits, gaps, how busy the device is.

Starts PostgreSQL, Valkey and workers of its own in a temporary folder, all as in production. Every
round puts the requests into the queue at once, as several people's, and waits for the last picture.
With `--before FOLDER` (another checkout) rounds of its worker alternate with this one's, so that
what else the machine does burdens both alike, and the ratio of the two is printed. With
`--step-seconds S` a stand-in draws grey pictures on a device that takes S seconds a step and no
time of the CPU's, as a GPU does: filters, marks, files, database and broker stay real. Asserts
nothing.

    python benchmarks/waiting.py [--requests 20] [--model pocket-turbo] [--side 256] [--images 1]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import psutil
from sqlalchemy import func, select

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.busy import GpuSampler, cpu_seconds  # noqa: E402 - the repository is on the path
from inference import generations, models, presence  # noqa: E402
from inference.events import Event  # noqa: E402
from inference.generations import IN_FLIGHT, IN_FLIGHT_MAX, Generation  # noqa: E402
from inference.queue import create_celery, enqueue  # noqa: E402
from inference.request import parse  # noqa: E402
from licensing import ledger, licence, prices, seats  # noqa: E402
from licensing.db import Database, connect  # noqa: E402
from licensing.money import MICROS_PER_USD  # noqa: E402
from licensing.seats import Identity, Member, Role  # noqa: E402
from migrations.run import upgrade  # noqa: E402
from webapp.host.servers import start_postgres, start_valkey  # noqa: E402

START_SECONDS_MAX = 300  # 26 GB of weights from a disk, and a first compilation
ROUND_SECONDS_MAX = 900
WORKER = ("-c", "from webapp.cli import main; main(['worker'])")
STAND_IN = ROOT / "benchmarks" / "stand_in.py"
PROMPT = "a red apple, flat style, on a blue background"


@dataclass(frozen=True)
class Plan:
    """What every round asks for."""

    requests: int
    model: str
    side: int
    images: int


@dataclass(frozen=True)
class Round:
    """What one round came to."""

    seconds: float
    pictures: int
    waits: list[float]  # seconds, press to picture
    gaps: list[float]  # seconds from a job's last step to the next one's first, less one step
    busy: float  # share of the time from the first step to the last in which steps were made
    cores: float  # of the CPU, in the worker's processes
    gpu: float | None  # share of the time in which a kernel ran, by the driver


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--model", default="pocket-turbo")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1, help="that the worker will have")
    parser.add_argument("--weights", type=Path, default=ROOT / "weights")
    parser.add_argument("--step-seconds", type=float, help="of a stand-in for the device")
    parser.add_argument("--before", type=Path, help="a checkout to compare with")
    chosen = parser.parse_args()
    seconds = chosen.step_seconds
    program = WORKER if seconds is None else (str(STAND_IN), str(seconds))
    plan = Plan(chosen.requests, chosen.model, chosen.side, chosen.images)
    trees = {"now": ROOT} | ({"before": chosen.before.resolve()} if chosen.before else {})
    rounds: dict[str, list[Round]] = {name: [] for name in trees}
    with tempfile.TemporaryDirectory(prefix="atelier-waiting-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with servers(folder) as (database, broker_url):
            members = people(database, -(-plan.requests // IN_FLIGHT_MAX))
            environment = {
                **os.environ,
                "DATABASE_URL": database.url,
                "BROKER_URL": broker_url,
                "ATELIER_STATE": str(folder),
                "ATELIER_WEIGHTS": str(chosen.weights.resolve()),
                "ATELIER_WORKER_CLASSES": models.find(plan.model).worker_class,
            }
            for number in range(chosen.rounds):
                for which, tree in trees.items():
                    began = time.monotonic()
                    wanted = chosen.processes
                    with worker(tree, program, environment, (database, wanted)) as child:
                        ready = time.monotonic() - began
                        run(database, broker_url, members, Plan(1, plan.model, plan.side, 1), child)
                        first = time.monotonic() - began
                        rounds[which].append(run(database, broker_url, members, plan, child))
                    compiled = "with compiled kernels" if number else "compiling"
                    print(
                        f"{which}: from its start, {compiled}, the worker was ready after "
                        f"{ready:.1f} s, and the first picture done after {first:.1f} s",
                        flush=True,
                    )
    for which, done in rounds.items():
        report(which, done)
    if "before" in rounds:
        pairs = zip(rounds["before"], rounds["now"], strict=True)
        ratios = [before.seconds / now.seconds for before, now in pairs]
        print(f"now does {statistics.median(ratios):.2f} times the pictures of before (median)")


def report(name: str, rounds: Sequence[Round]) -> None:
    """Print one line: the median round, and the waits and gaps of all."""
    median = sorted(rounds, key=lambda one: one.seconds)[len(rounds) // 2]
    waits = sorted(wait for one in rounds for wait in one.waits)
    gaps = sorted(gap for one in rounds for gap in one.gaps) or [0.0]
    gpu = "" if median.gpu is None else f", GPU {median.gpu:.1%}"
    print(
        f"{name}: {median.pictures / median.seconds:.2f} pictures/s, wait P50 "
        f"{statistics.median(waits):.2f} s, P99 {waits[int(0.99 * (len(waits) - 1))]:.2f} s, gap "
        f"between jobs {statistics.median(gaps) * 1000:.0f} ms (P90 "
        f"{gaps[int(0.9 * (len(gaps) - 1))] * 1000:.0f} ms), steps {median.busy:.1%} of the time,"
        f" {median.cores:.2f} cores{gpu}, n {len(waits)}"
    )


@contextmanager
def servers(folder: Path) -> Iterator[tuple[Database, str]]:
    """A database with its tables, and a broker."""
    postgres = start_postgres(folder / "postgres")
    try:
        valkey = start_valkey(folder / "valkey")
        try:
            upgrade(postgres.url)
            database = connect(postgres.url)
            yield database, valkey.url
            database.dispose()
        finally:
            valkey.stop()
    finally:
        postgres.stop()


def people(database: Database, count: int) -> list[Member]:
    """Creators of one team whose money does not run out."""
    with database.transaction() as session:
        licence.attest(session, "demonstration", given_by="Bench", author_id=None)
        team = seats.create_organisation(session, name="Bench", tier="business", seat_ceiling=50)
        members = [
            seats.add_member(session, team.id, person(n), role=Role.CREATOR, seated=True)
            for n in range(count)
        ]
        ledger.top_up(
            session, team.id, 10_000 * MICROS_PER_USD, key="bench", author_id=None, note="bench"
        )
    return members


def person(number: int) -> Identity:
    """Somebody who signed in."""
    return Identity(
        issuer="https://bench.example",
        subject=str(number),
        email=f"person-{number}@bench.example",
        email_verified=True,
        name=f"Person {number}",
    )


@contextmanager
def worker(
    tree: Path,
    program: Sequence[str],
    environment: dict[str, str],
    waited_for: tuple[Database, int],
) -> Iterator[psutil.Process]:
    """The worker of a checkout, as many of its processes ready as are waited for."""
    began = time.monotonic()
    log = Path(environment["ATELIER_STATE"]) / f"worker-{uuid.uuid4().hex[:6]}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, *program],
            env={**environment, "PYTHONPATH": os.pathsep.join([str(tree), *sys.path])},
            cwd=tree,
            stdout=out,
            stderr=out,
        )
    try:
        while not are_ready(*waited_for):
            if process.poll() is not None or time.monotonic() - began > START_SECONDS_MAX:
                raise SystemExit(f"the worker did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=120)


def are_ready(database: Database, processes: int) -> bool:
    """Whether so many of a worker wait for work, their libraries loaded."""
    with database.read() as session:
        return sum(one.state == "ready" for one in presence.alive(session)) >= processes


def run(
    database: Database,
    broker_url: str,
    members: Sequence[Member],
    plan: Plan,
    process: psutil.Process,
) -> Round:
    """Queue it all, wait until nothing is in flight, and look back at the rows."""
    celery = create_celery(broker_url)
    jobs = [submit(database, members[n // IN_FLIGHT_MAX], plan, n) for n in range(plan.requests)]
    cpu, sampler = cpu_seconds(process), GpuSampler()
    began = time.monotonic()
    with sampler:
        for job in jobs:
            assert enqueue(celery, job, plan.model)
        while in_flight(database):
            if time.monotonic() - began > ROUND_SECONDS_MAX:
                raise SystemExit("the queue was not worked off in time")
            time.sleep(0.02)
    seconds = time.monotonic() - began
    used = (cpu_seconds(process) - cpu) / seconds
    return look_back(database, jobs, (seconds, used, sampler.share))


def submit(database: Database, member: Member, plan: Plan, number: int) -> uuid.UUID:
    """One request with its hold, as the page makes it."""
    model = models.find(plan.model)
    fields = {
        "prompt": f"{PROMPT}, number {number}",
        "width": plan.side,
        "height": plan.side,
        "images": plan.images,
        "seed": number,
    }
    with database.transaction() as session:
        quote = prices.quote(
            session, model.price_class, width=plan.side, height=plan.side, images=plan.images
        )
        made, _ = generations.create(
            session,
            request=parse(fields, model),
            member=member,
            quote=quote,
            idempotency_key=uuid.uuid4().hex,
        )
        ledger.hold(
            session,
            organisation_id=member.organisation_id,
            member_id=member.id,
            generation_id=made.id,
            amount_micros=quote.total_micros,
            price_version=quote.price_version,
        )
    return made.id


def in_flight(database: Database) -> int:
    """How many rows are not ended."""
    with database.read() as session:
        waiting = select(func.count()).where(Generation.state.in_(IN_FLIGHT))
        return session.scalars(waiting).one()


def look_back(
    database: Database, jobs: Sequence[uuid.UUID], measured: tuple[float, float, float | None]
) -> Round:
    """What the rows and their step events say of the round."""
    seconds, cores, gpu = measured
    with database.read() as session:
        rows = session.scalars(select(Generation).where(Generation.id.in_(jobs))).all()
        steps = session.scalars(
            select(Event)
            .where(Event.generation_id.in_(jobs), Event.kind == "step")
            .order_by(Event.id)
        ).all()
    ended = {row.state for row in rows}
    assert ended == {"finished"}, f"jobs ended as {ended}: {rows[0].error_message}"
    times: dict[uuid.UUID, list[datetime]] = {}
    for step in steps:
        times.setdefault(step.generation_id, []).append(step.created_at)
    drawn = sorted(times.values())
    a_step = statistics.median((b - a).total_seconds() for one in drawn for a, b in pairwise(one))
    gaps, drawing, passed = list[float](), 0.0, 0.0
    for worker in {row.worker for row in rows}:
        its = sorted(times[row.id] for row in rows if row.worker == worker)
        gaps += [(b[0] - a[-1]).total_seconds() - a_step for a, b in pairwise(its)]
        # Without the very first step, whose start no event tells.
        drawing += sum((one[-1] - one[0]).total_seconds() + a_step for one in its) - a_step
        passed += (its[-1][-1] - its[0][0]).total_seconds()
    first = min(row.created_at for row in rows)
    return Round(
        seconds=seconds,
        pictures=sum(row.images for row in rows),
        waits=[(row.finished_at - first).total_seconds() for row in rows if row.finished_at],
        gaps=gaps,
        busy=drawing / passed,
        cores=cores,
        gpu=gpu,
    )


if __name__ == "__main__":
    main()
