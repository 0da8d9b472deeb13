"""A funded team whose creator queues generations as `submit` does, and a database to take away."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from factories import Team, team
from psycopg import sql

from inference import generations, models
from inference.generations import Generation
from inference.request import parse
from licensing import budgets, ledger, prices
from licensing.db import Database
from licensing.ledger import Balance
from licensing.seats import Member

TOP_UP_MICROS = 1_000_000


@dataclass(frozen=True)
class Desk:
    database: Database
    team: Team

    @property
    def member(self) -> Member:
        return self.team.creator

    def queue(
        self, prompt: str = "a red apple", *, key: str | None = None, **fields: object
    ) -> Generation:
        model = models.find(fields.pop("model", "pocket-turbo"))
        request = parse({"prompt": prompt, "width": 128, "height": 128, **fields}, model)
        with self.database.transaction() as session:
            quote = prices.quote(
                session,
                model.price_class,
                width=request.width,
                height=request.height,
                images=request.images,
            )
            generation, created = generations.create(
                session,
                request=request,
                member=self.member,
                quote=quote,
                idempotency_key=key or uuid.uuid4().hex,
            )
            if created:
                budgets.reserve(
                    session,
                    organisation_id=self.member.organisation_id,
                    member_id=self.member.id,
                    team_id=generation.team_id,
                    api_key_id=None,
                    generation_id=generation.id,
                    amount_micros=quote.total_micros,
                )
                ledger.hold(
                    session,
                    organisation_id=self.member.organisation_id,
                    member_id=self.member.id,
                    generation_id=generation.id,
                    amount_micros=quote.total_micros,
                    price_version=quote.price_version,
                )
        return generation

    def read(self, generation_id: uuid.UUID) -> Generation:
        with self.database.read() as session:
            return generations.access(session, self.member, generation_id)

    def balance(self) -> Balance:
        with self.database.read() as session:
            return ledger.balance(session, self.member.organisation_id)


def open_desk(database: Database) -> Desk:
    return Desk(database, team(database, balance_micros=TOP_UP_MICROS))


@contextmanager
def away(database: Database) -> Iterator[None]:
    """Take the database away as a restart does: connections die, and new ones are refused."""
    name = str(database.engine.url.database)
    with psycopg.connect(database.url.replace(f"/{name}?", "/postgres?"), autocommit=True) as admin:
        target = sql.Identifier(name)
        admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(target))
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
        try:
            yield
        finally:
            admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(target))


def wait_until(done: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Look every few milliseconds whether another process or thread has done its part."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.02)
