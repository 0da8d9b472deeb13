"""Any story of money in, work, refunds, credit and disputes ends as plain arithmetic says."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from factories import Team, team
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy.orm import Session

from licensing import ledger, usage
from licensing.audit import audit
from licensing.db import Database, now
from licensing.errors import Conflict
from licensing.ledger import Balance, InsufficientBalance, WalletFrozen

amounts = st.integers(min_value=1, max_value=200_000)
kinds = st.sampled_from(["top_up", "grant", "adjust"])
ends_in_days = st.sampled_from([None, 1, 2, 3])


@dataclass
class Lot:
    """What came in, as a person with a pencil keeps it."""

    key: str
    is_paid: bool
    expires_at: datetime | None
    amount: int
    left: int
    returned: int = 0


@dataclass
class Pencil:
    """The books in plain arithmetic: lots in the order in which they came, and what is owed."""

    lots: list[Lot] = field(default_factory=list)
    owed: int = 0
    open: dict[uuid.UUID, int] = field(default_factory=dict)
    charged: dict[uuid.UUID, int] = field(default_factory=dict)
    paid_back: dict[int, tuple[Lot, int]] = field(default_factory=dict)
    credit: int = 0
    frozen: str | None = None

    @property
    def settled(self) -> int:
        return sum(lot.left for lot in self.lots) - self.owed

    @property
    def available(self) -> int:
        return self.settled - sum(self.open.values())

    def bring(self, lot: Lot) -> None:
        self.lots.append(lot)
        paid = min(self.owed, lot.left)
        lot.left -= paid
        self.owed -= paid

    def take(self, amount: int, first: Lot | None = None) -> None:
        for lot in sorted(self.lots, key=lambda lot: (lot is not first, *_sortable(lot))):
            paid = min(lot.left, amount)
            lot.left -= paid
            amount -= paid
        self.owed += amount


def _sortable(lot: Lot) -> tuple[bool, bool, float]:
    ends = lot.expires_at
    return (lot.is_paid, ends is None, 0.0 if ends is None else ends.timestamp())


class Wallet(RuleBasedStateMachine):
    """A wallet beside the pencil; every example runs in a transaction that is rolled back."""

    holds = Bundle("holds")
    resolved = Bundle("resolved")

    def __init__(self, database: Database, people: Team) -> None:
        super().__init__()
        self.people = people
        self.session = Session(database.engine, expire_on_commit=False)
        self.start = now()
        self.books = Pencil()

    @rule(kind=kinds, amount=amounts, days=ends_in_days)
    def bring(self, kind: str, amount: int, days: int | None) -> None:
        ends = None if days is None or kind == "adjust" else self.start + timedelta(days=days)
        lot = Lot(uuid.uuid4().hex, kind == "top_up", ends, amount, amount)
        for _ in range(2):  # a provider delivers twice
            if kind == "adjust":
                ledger.adjust(
                    self.session, self.people.id, amount, key=lot.key, author_id=None, reason="x"
                )
            else:
                verb = ledger.top_up if kind == "top_up" else ledger.grant
                verb(
                    self.session,
                    self.people.id,
                    amount,
                    key=lot.key,
                    author_id=None,
                    note="",
                    expires_at=ends,
                )
        self.books.bring(lot)

    @rule(target=holds, amount=amounts, stale=st.booleans())
    def hold(self, amount: int, stale: bool) -> object:  # noqa: FBT001 - Hypothesis draws it
        generation_id = uuid.uuid4()
        try:
            ledger.hold(
                self.session,
                organisation_id=self.people.id,
                member_id=self.people.creator.id,
                generation_id=generation_id,
                amount_micros=amount,
                price_version="2026-11",
                lifetime=timedelta(days=-1 if stale else 1),
            )
        except InsufficientBalance:
            assert self.books.frozen is None
            assert amount > self.books.available + self.books.credit
            return multiple()
        except WalletFrozen:
            assert self.books.frozen is not None
            return multiple()
        assert self.books.frozen is None
        self.books.open[generation_id] = amount
        return generation_id

    @rule(target=resolved, generation_id=consumes(holds), share=st.integers(0, 100))
    def settle(self, generation_id: uuid.UUID, share: int) -> uuid.UUID:
        amount = self.books.open.pop(generation_id, None)
        charged = (amount or 100) * share // 100
        assert ledger.settle(self.session, generation_id, charged) is (amount is not None)
        if amount is not None:
            self.books.take(charged)
            self.books.charged[generation_id] = charged
            self._write_line(generation_id, charged)
        return generation_id

    @rule(target=resolved, generation_id=consumes(holds))
    def release(self, generation_id: uuid.UUID) -> uuid.UUID:
        was_open = self.books.open.pop(generation_id, None) is not None
        assert ledger.release(self.session, generation_id, "cancelled") is was_open
        return generation_id

    @rule()
    def sweep_holds(self) -> None:
        for generation_id in ledger.expire_holds(self.session, now()):
            del self.books.open[generation_id]

    @rule(days=st.integers(1, 4))
    def sweep_lots(self, days: int) -> None:
        at = self.start + timedelta(days=days)
        due = [lot for lot in self.books.lots if lot.expires_at and lot.expires_at <= at]
        free, gone = max(0, self.books.available), 0
        for lot in sorted(due, key=lambda lot: _sortable(lot)[1:]):
            lost = min(lot.left, free - gone)
            lot.left -= lost
            gone += lost
        made = ledger.expire_lots(self.session, at)
        assert sum(entry.amount_micros for entry in made) == gone

    @rule(generation_id=resolved)
    def resolve_again(self, generation_id: uuid.UUID) -> None:
        assert not ledger.settle(self.session, generation_id, 0)
        assert not ledger.release(self.session, generation_id, "again")

    @rule(generation_id=resolved, share=st.integers(1, 100))
    def refund_generation(self, generation_id: uuid.UUID, share: int) -> None:
        charged = self.books.charged.get(generation_id, 0)
        amount = max(1, charged * share // 100)
        if amount > charged:
            return
        before, owed = self.books.settled, self.books.owed
        key = uuid.uuid4().hex
        for _ in range(2):
            ledger.refund_generation(
                self.session, generation_id, amount, key=key, author_id=None, reason="broken"
            )
        self.books.charged[generation_id] -= amount
        self.books.owed -= min(owed, amount)
        self._copy_lots()  # where it went is the audit's and test_lots' business; the sum is ours
        assert self.books.settled == before + amount

    @rule(data=st.data(), share=st.integers(1, 120))
    def refund_top_up(self, data: st.DataObject, share: int) -> None:
        paid = [lot for lot in self.books.lots if lot.is_paid]
        if not paid:
            return
        lot = data.draw(st.sampled_from(paid))
        amount = max(1, lot.amount * share // 100)
        most = min(lot.left, lot.amount - lot.returned, self.books.available)
        try:
            refund_id = self._refund(lot, amount)
        except Conflict:
            assert amount > most
            return
        assert amount <= most
        lot.left -= amount
        lot.returned += amount
        self.books.paid_back[refund_id] = (lot, amount)

    @rule(data=st.data())
    def return_refund(self, data: st.DataObject) -> None:
        if not self.books.paid_back:
            return
        refund_id = data.draw(st.sampled_from(sorted(self.books.paid_back)))
        lot, amount = self.books.paid_back.pop(refund_id)
        before, owed = self.books.settled, self.books.owed
        for _ in range(2):
            ledger.return_refund(
                self.session, self.people.id, refund_id, key=str(refund_id), note=""
            )
        self.books.owed -= min(owed, amount)
        lot.returned -= amount
        self._copy_lots()
        assert self.books.settled == before + amount

    @rule(data=st.data(), share=st.integers(1, 100))
    def lose_a_dispute(self, data: st.DataObject, share: int) -> None:
        paid = [lot for lot in self.books.lots if lot.is_paid]
        if not paid:
            return
        lot = data.draw(st.sampled_from(paid))
        amount = max(1, lot.amount * share // 100)
        key = uuid.uuid4().hex
        for _ in range(2):
            made = ledger.chargeback(
                self.session, self.people.id, amount, top_up_key=lot.key, key=key, note=""
            )
        self.books.take(amount, lot)
        lot.returned += amount
        self.books.paid_back[made.id] = (lot, amount)
        self.books.frozen = "dispute"

    @rule(limit=st.integers(0, 300_000))
    def lend(self, limit: int) -> None:
        ledger.set_credit_limit(
            self.session, self.people.id, limit, author_id=None, reason="contract"
        )
        self.books.credit = limit

    @rule()
    def unfreeze(self) -> None:
        was_frozen = ledger.unfreeze(self.session, self.people.id, author_id=None, reason="paid")
        assert was_frozen is (self.books.frozen is not None)
        self.books.frozen = None

    @invariant()
    def the_balance_is_what_arithmetic_says(self) -> None:
        found = ledger.balance(self.session, self.people.id)
        books = self.books
        held = sum(books.open.values())
        assert found == Balance(books.settled, held, books.credit, found.frozen_reason)
        assert (found.frozen_reason is None) == (books.frozen is None)

    @invariant()
    def each_lot_has_left_what_arithmetic_says(self) -> None:
        assert self._read_lots() == {lot.key: lot.left for lot in self.books.lots}

    def teardown(self) -> None:
        differences = audit(self.session)
        self.session.rollback()
        self.session.close()
        assert differences == []

    def _refund(self, lot: Lot, amount: int) -> int:
        made = ledger.refund_top_up(
            self.session,
            self.people.id,
            amount,
            top_up_key=lot.key,
            key=uuid.uuid4().hex,
            author_id=None,
            note="",
        )
        return made.id

    def _copy_lots(self) -> None:
        found = self._read_lots()
        for lot in self.books.lots:
            lot.left = found[lot.key]

    def _read_lots(self) -> dict[str, int]:
        self.session.expire_all()
        keys = {
            entry.id: entry.key.partition(":")[2]
            for entry in ledger.movements(self.session, self.people.id, limit=999)
        }
        return {
            keys[lot.transfer_id or 0]: lot.remaining_micros
            for lot in ledger.lots(self.session, self.people.id, limit=999)
        }

    def _write_line(self, generation_id: uuid.UUID, amount_micros: int) -> None:
        usage.record(
            self.session,
            generation_id=generation_id,
            organisation_id=self.people.id,
            member_id=self.people.creator.id,
            model="pocket-turbo",
            images=1,
            width=128,
            height=128,
            amount_micros=amount_micros,
            price_version="2026-11",
            at=now(),
        )


def check_stories(database: Database, *, stories: int, steps: int) -> None:
    people = team(database, balance_micros=0)

    class Story(Wallet):
        def __init__(self) -> None:
            super().__init__(database, people)

    run_state_machine_as_test(
        Story,
        settings=settings(
            max_examples=stories,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_books_balance_after_any_story(database: Database) -> None:
    check_stories(database, stories=20, steps=25)


@pytest.mark.nightly
def test_the_books_balance_after_ten_thousand_steps(database: Database) -> None:
    check_stories(database, stories=250, steps=50)
