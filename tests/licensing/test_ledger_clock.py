"""A host whose clock jumps: holds, lots and transfers keep the database's time."""

import uuid
from datetime import UTC, datetime, timedelta, tzinfo

import pytest
from factories import team
from sqlalchemy import func, select

import licensing.db
from licensing import ledger, prices
from licensing.db import Database
from licensing.errors import Conflict


@pytest.mark.parametrize("year", [1999, 2099])
def test_a_jumping_clock_moves_no_money_and_ends_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch, year: int
) -> None:
    people = team(database, balance_micros=0)
    generation_id = uuid.uuid4()

    class Jumped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Jumped":
            return cls(year, 2, 28, 23, 59, 59, tzinfo=tz)

    with database.read() as session:
        truth = session.scalars(select(func.clock_timestamp())).one().astimezone(UTC)
    monkeypatch.setattr(licensing.db, "datetime", Jumped)
    with database.transaction() as session:
        paid = ledger.top_up(
            session,
            people.id,
            100,
            key="k",
            author_id=None,
            note="",
            expires_at=truth + timedelta(days=30),
        )
        held = ledger.hold(
            session,
            organisation_id=people.id,
            member_id=people.creator.id,
            generation_id=generation_id,
            amount_micros=60,
            price_version="2026-11",
        )
    near = timedelta(minutes=5)
    assert abs(paid.at - truth) < near
    assert abs(held.created_at - truth) < near
    assert held.expires_at - held.created_at == ledger.HOLD_LIFETIME
    with database.transaction() as session:  # the sweep asks the database for the time
        at = session.scalars(select(func.clock_timestamp())).one()
        assert ledger.expire_holds(session, at) == []
        assert ledger.expire_lots(session, at) == []
        assert ledger.settle(session, generation_id, 60)
        found = ledger.get_hold(session, generation_id)
        assert found is not None
        assert found.resolved_at is not None
        assert abs(found.resolved_at - truth) < near
        assert ledger.balance(session, people.id).settled_micros == 40


@pytest.mark.parametrize("year", [1999, 2099])
def test_what_is_past_for_a_price_list_is_the_databases_past(
    database: Database, monkeypatch: pytest.MonkeyPatch, year: int
) -> None:
    class Jumped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Jumped":
            return cls(year, 2, 28, 23, 59, 59, tzinfo=tz)

    monkeypatch.setattr(licensing.db, "datetime", Jumped)
    with database.transaction() as session:
        truth = session.scalars(select(func.clock_timestamp())).one()
        listed = prices.in_force(session)

        def add(name: str, effective_at: datetime) -> None:
            dated = prices.PriceList(name, listed.per_image_micros, listed.sizes)
            prices.add_version(session, dated, effective_at=effective_at, note="")

        add("in an hour", truth + timedelta(hours=1))
        with pytest.raises(Conflict, match="past"):
            add("an hour ago", truth - timedelta(hours=1))
