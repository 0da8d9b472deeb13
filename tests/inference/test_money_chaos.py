"""A thousand requests at once for a hundred pictures' worth, with kill -9 of web and worker.

The real web process, the real worker (with the fake engine), the real broker. Where it is killed is
drawn from the seed, which is the test's name: `pytest -m nightly -k "money_chaos and 7"`.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

import httpx2
import pytest
import redis
from factories import member, team
from jobs import wait_until
from running import free_port
from sqlalchemy import func, select
from test_worker_killed import children

from inference.generations import IN_FLIGHT, Generation
from inference.presence import WorkerPresence
from inference.queue import create_celery, enqueue
from inference.sweep import RESEND_AFTER, sweep
from licensing import agreements, api_keys, ledger
from licensing.audit import audit
from licensing.db import Database, now
from licensing.ledger import Hold

HERE = Path(__file__).parent
PRICE_MICROS = 15_000
REQUESTS, WORTH = 1_000, 100
MEMBERS = 125  # each asks eight times, as much as one may have in flight
CLIENTS = 50
WEB_KILLS, WORKER_KILLS = 3, 2
LATER = RESEND_AFTER + timedelta(seconds=1)  # by then a dead worker is known, a lost message too
PATIENCE_SECONDS = 180.0  # a machine may be busy with other tests beside this one
WEB = """
import os, uvicorn
from webapp.app import create_app
from webapp.settings import read_settings
settings = read_settings(os.environ)
app = create_app(settings, with_pages=False)
uvicorn.run(app, port=settings.port, log_level="error", ws="none")
"""


@dataclass
class Chaos:
    """The processes of a studio that can be killed and begun again."""

    database: Database
    environment: dict[str, str]
    folder: Path
    port: int
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def begin(self, name: str) -> None:
        command = (
            [sys.executable, "-c", WEB]
            if name == "web"
            else [sys.executable, str(HERE / "fake_worker.py"), "worker"]
        )
        folder = HERE.parent.parent if name == "web" else HERE
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                command, env=self.environment, cwd=folder, stdout=log, stderr=log
            )

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        for child in children(process.pid):
            os.kill(child, signal.SIGKILL)
        process.kill()
        process.wait()

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def count(self, *states: str) -> int:
        with self.database.read() as session:
            query = select(func.count()).select_from(Generation)
            return session.scalar(query.where(Generation.state.in_(states))) or 0


@pytest.fixture
def chaos(database: Database, broker_url: str, tmp_path: Path) -> Iterator[Chaos]:
    redis.Redis.from_url(broker_url.replace("redis+socket", "unix")).flushall()
    weights = tmp_path / "weights"
    (weights / "pocket-turbo").mkdir(parents=True)
    (weights / "pocket-turbo" / "model_index.json").write_text("{}")
    port = free_port()
    environment = {
        **os.environ,
        "DATABASE_URL": database.url,
        "BROKER_URL": broker_url,
        "ATELIER_STATE": str(tmp_path),
        "ATELIER_WEIGHTS": str(weights),
        "ATELIER_PORT": str(port),
    }
    studio = Chaos(database, environment, tmp_path, port)
    yield studio
    for name in list(studio.running):
        studio.kill(name)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(20))
def test_a_hundred_of_a_thousand_are_admitted_whoever_is_killed(
    chaos: Chaos, broker_url: str, seed: int
) -> None:
    drawn = random.Random(seed)
    tokens, organisation_id = people(chaos.database)
    chaos.begin("worker")
    chaos.begin("web")
    wait_until(chaos.answers, "the web process", PATIENCE_SECONDS)
    wait_until(partial(worker_is_there, chaos), "the worker", PATIENCE_SECONDS)

    ring = partial(enqueue, create_celery(broker_url))
    answers = ask_all(chaos, ring, tokens, drawn)
    assert answers == Counter({202: WORTH, 402: REQUESTS - WORTH})
    assert chaos.count(*IN_FLIGHT, "finished") == WORTH

    for done in sorted(drawn.sample(range(WORTH // 4, WORTH), WORKER_KILLS)):
        wait_until(partial(has_done, chaos, done), "progress", PATIENCE_SECONDS)
        restart_worker(chaos, ring)
    for _ in range(3):  # a job that was never rung for; then one that this sweep took for lost
        sweep(chaos.database, ring, now() + LATER)
        wait_until(partial(idle, chaos), "every job to end", PATIENCE_SECONDS)
    assert_books(chaos, organisation_id)


def assert_books(chaos: Chaos, organisation_id: object) -> None:
    finished, failed = chaos.count("finished"), chaos.count("failed")
    assert finished + failed == WORTH
    with chaos.database.read() as session:
        query = select(Hold.state, func.count()).group_by(Hold.state)
        held = {row[0]: row[1] for row in session.execute(query)}
        assert "held" not in held
        assert held.get("settled", 0) == finished
        assert audit(session) == []
        (wallet,) = session.scalars(
            select(ledger.Account).where(
                ledger.Account.organisation_id == organisation_id, ledger.Account.kind == "wallet"
            )
        )
        assert wallet.settled_micros == (WORTH - finished) * PRICE_MICROS
        assert wallet.held_micros == 0


def restart_worker(chaos: Chaos, ring: Callable[[uuid.UUID, str], object]) -> None:
    """Kill the worker, let the sweep find what it left, begin another one."""
    chaos.kill("worker")
    sweep(chaos.database, ring, now() + LATER)
    chaos.begin("worker")


def ask_all(
    chaos: Chaos,
    ring: Callable[[uuid.UUID, str], object],
    tokens: list[str],
    drawn: random.Random,
) -> Counter[int]:
    """Send every request until it is answered, while web and worker are killed now and then."""
    kills = Counter(drawn.choices(range(REQUESTS // 20, REQUESTS), k=WEB_KILLS))
    worker_kill = drawn.randrange(REQUESTS)
    answers: Counter[int] = Counter()
    lock = threading.Lock()

    def ask(number: int) -> None:
        status = persist(client, tokens[number % MEMBERS], number)
        with lock:
            answers[status] += 1
            told = answers.total()
            if kills[told]:
                chaos.kill("web")
                chaos.begin("web")
            if told == worker_kill:
                restart_worker(chaos, ring)

    order = list(range(REQUESTS))
    drawn.shuffle(order)
    url = f"http://127.0.0.1:{chaos.port}"
    with (
        httpx2.Client(base_url=url, trust_env=False, timeout=30) as client,
        ThreadPoolExecutor(CLIENTS) as clients,
    ):
        list(clients.map(ask, order))
    return answers


def persist(client: httpx2.Client, token: str, number: int) -> int:
    """Ask with the same key until there is an answer, as a careful program does."""
    waiting = threading.Event()
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"chaos-{number}"}
    fields = {"model": "pocket-turbo", "prompt": f"apple {number}", "width": 128, "height": 128}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            answer = client.post("/v1/generations", json=fields, headers=headers)
        except httpx2.TransportError:
            waiting.wait(0.2)
            continue
        if answer.status_code < 500:
            if answer.status_code == 402:
                assert "is missing" in answer.text
            return answer.status_code
        waiting.wait(0.2)
    return 0


def people(database: Database) -> tuple[list[str], object]:
    """An organisation worth exactly a hundred pictures, and the API keys of its members."""
    made = team(database, balance_micros=WORTH * PRICE_MICROS, seat_ceiling=MEMBERS + 10)
    tokens: list[str] = []
    with database.transaction() as session:
        for number in range(MEMBERS):
            who = member(session, made.organisation, name=f"M{number} Member")
            agreements.accept(session, who.id, agreements.current(), now())
            tokens.append(api_keys.create(session, who, name="chaos")[1])
    return tokens, made.id


def worker_is_there(chaos: Chaos) -> bool:
    with chaos.database.read() as session:
        return session.scalar(select(func.count()).select_from(WorkerPresence)) == 1


def has_done(chaos: Chaos, count: int) -> bool:
    return idle(chaos) or chaos.count("finished") >= count


def idle(chaos: Chaos) -> bool:
    return chaos.count(*IN_FLIGHT) == 0
