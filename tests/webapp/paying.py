"""A studio with its stand-in for Stripe: payers, the hosted page, and messages on demand."""

import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx2
from factories import Team, team
from running import Running, start
from sqlalchemy import select, text
from standin_at_work import OK, Listener, Standin, client_of

from licensing import ledger
from licensing.db import Base, Database
from licensing.ledger import Balance
from licensing.money import MICROS_PER_USD
from licensing.payments.tables import Payment, PaymentEvent
from webapp import payments
from webapp.studio import Studio

USD = MICROS_PER_USD


@dataclass(frozen=True)
class Desk:
    """One organisation's payers at a running studio. The stand-in's messages are held."""

    running: Running
    standin: Standin
    team: Team

    @property
    def studio(self) -> Studio:
        return self.running.studio

    @property
    def database(self) -> Database:
        return self.running.database

    @cached_property
    def http(self) -> httpx2.Client:
        return self.standin.http

    def deliver(self, **fields: object) -> list[tuple[str, int]]:
        """Bring what is held to the webhook; returns each message's type and answer."""
        sent = self.standin.control("/deliver", **fields)["sent"]
        return [(message["type"], message["status"]) for message in sent]

    def top_up(self, usd: int = 25, card: str = OK, *, save_card: bool = False) -> Payment:
        """Pay on the hosted page; what the provider has to say about it is still held."""
        url = payments.start_top_up(self.studio, self.team.finance, usd * USD, save_card=save_card)
        self.standin.pay(url, card)
        payment: Payment = self.rows(Payment)[-1]
        return payment

    def saved_card(self, card: str = OK) -> None:
        """Save a card on the hosted page, and be told of it."""
        self.standin.pay(payments.save_card(self.studio, self.team.owner), card)
        self.deliver()

    def automatic(self, threshold: int = 20, amount: int = 50, ceiling: int = 500) -> None:
        """Turn automatic top-up on; amounts in dollars."""
        payments.set_automatic(
            self.studio,
            self.team.owner,
            threshold_micros=threshold * USD,
            amount_micros=amount * USD,
            monthly_ceiling_micros=ceiling * USD,
        )

    def balance(self) -> Balance:
        with self.database.read() as session:
            return ledger.balance(session, self.team.id)

    def rows(self, table: type[Base]) -> list[Any]:
        """All rows of a table, in the order of their physical age."""
        with self.database.read() as session:
            return list(session.scalars(select(table).order_by(text("ctid"))))

    def statuses(self) -> dict[str, int]:
        """How many messages are in each status."""
        found: dict[str, int] = {}
        for event in self.rows(PaymentEvent):
            found[event.status] = found.get(event.status, 0) + 1
        return found


def open_desk(stack: ExitStack, environ: dict[str, str], *, balance_usd: int = 0) -> Desk:
    """Start a studio with a team; its stand-in holds its messages until they are delivered."""
    running = start(stack, environ)
    http = stack.enter_context(
        httpx2.Client(base_url=running.settings.url, trust_env=False, timeout=30)
    )
    standin = Standin(running.settings, client_of(running.settings), Listener(""), http)
    standin.control("/hold", on=True)
    made = team(running.database, balance_micros=balance_usd * USD)
    return Desk(running, standin, made)


def charge_of(payment: Payment) -> str:
    """The provider's name of a payment, for the control page."""
    assert payment.payment_intent_id is not None
    return payment.payment_intent_id


def key() -> uuid.UUID:
    """A form's key."""
    return uuid.uuid4()
