"""Any story of holds, charges, releases, sweeps and top-ups leaves the books as arithmetic says."""

import uuid
from datetime import timedelta

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
from licensing.ledger import Balance, InsufficientBalance

amounts = st.integers(min_value=1, max_value=200_000)


class Wallet(RuleBasedStateMachine):
    """A wallet beside plain arithmetic; every example runs in a transaction that is rolled back."""

    holds = Bundle("holds")
    resolved = Bundle("resolved")

    def __init__(self, database: Database, people: Team) -> None:
        super().__init__()
        self.people = people
        self.session = Session(database.engine, expire_on_commit=False)
        self.settled = 0
        self.open: dict[uuid.UUID, int] = {}

    @rule(amount=amounts)
    def top_up(self, amount: int) -> None:
        key = uuid.uuid4().hex
        for _ in range(2):  # a provider delivers twice
            ledger.top_up(self.session, self.people.id, amount, key=key, author_id=None, note="")
        self.settled += amount

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
            assert amount > self.settled - sum(self.open.values())
            return multiple()
        self.open[generation_id] = amount
        return generation_id

    @rule(target=resolved, generation_id=consumes(holds), share=st.integers(0, 100))
    def settle(self, generation_id: uuid.UUID, share: int) -> uuid.UUID:
        amount = self.open.pop(generation_id, None)
        charged = (amount or 100) * share // 100
        assert ledger.settle(self.session, generation_id, charged) is (amount is not None)
        if amount is not None:
            self.settled -= charged
            self._write_line(generation_id, charged)
        return generation_id

    @rule(target=resolved, generation_id=consumes(holds))
    def release(self, generation_id: uuid.UUID) -> uuid.UUID:
        was_open = self.open.pop(generation_id, None) is not None
        assert ledger.release(self.session, generation_id, "cancelled") is was_open
        return generation_id

    @rule()
    def sweep(self) -> None:
        for generation_id in ledger.expire_holds(self.session, now()):
            del self.open[generation_id]

    @rule(generation_id=resolved)
    def resolve_again(self, generation_id: uuid.UUID) -> None:
        assert not ledger.settle(self.session, generation_id, 0)
        assert not ledger.release(self.session, generation_id, "again")

    @invariant()
    def the_balance_is_what_arithmetic_says(self) -> None:
        expected = Balance(self.settled, sum(self.open.values()))
        assert ledger.balance(self.session, self.people.id) == expected
        assert 0 <= expected.held_micros <= expected.settled_micros

    def teardown(self) -> None:
        differences = audit(self.session)
        self.session.rollback()
        self.session.close()
        assert differences == []

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
    check_stories(database, stories=25, steps=25)


@pytest.mark.nightly
def test_the_books_balance_after_ten_thousand_steps(database: Database) -> None:
    check_stories(database, stories=250, steps=50)
