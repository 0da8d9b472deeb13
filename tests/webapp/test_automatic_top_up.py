"""Automatic top-up at a running studio: one charge under race, and every brake."""

from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from factories import team
from paying import USD, Desk, open_desk
from racing import race
from sqlalchemy import text, update

from licensing.db import now
from licensing.errors import Conflict, NotAllowed
from licensing.money import InvalidAmount
from licensing.payments import automatic as charges
from licensing.payments import overview
from licensing.payments.figures import Automatic, Overview
from licensing.payments.tables import AutomaticTopUp, Payment
from webapp import payments
from webapp.payments import automatic

LATER_DECLINED = "4000 0000 0000 0341"

FAULT = """
    CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''x''; END';
    CREATE TRIGGER fault BEFORE UPDATE ON payment FOR EACH ROW
      WHEN (NEW.organisation_id = '{organisation}') EXECUTE FUNCTION fault()
"""


@pytest.fixture
def desk(stack: ExitStack, environ: dict[str, str]) -> Desk:
    return open_desk(stack, environ)


def read(desk: Desk) -> Overview:
    with desk.database.read() as session:
        return overview(session, desk.team.id)


def settings(desk: Desk) -> Automatic:
    found = read(desk).automatic
    assert found is not None
    return found


def age(desk: Desk, by: timedelta) -> None:
    """Let everything that was charged so far have happened earlier."""
    with desk.database.transaction() as session:
        session.execute(
            update(Payment).values(
                created_at=Payment.created_at - by,
                asked_at=Payment.asked_at - by,
                resolved_at=Payment.resolved_at - by,
            )
        )
        session.execute(update(AutomaticTopUp).values(on_since=AutomaticTopUp.on_since - by))


def test_two_processes_that_look_at_once_make_one_charge(desk: Desk) -> None:
    desk.saved_card()
    desk.automatic(threshold=20, amount=50)
    race([lambda: automatic.charge_due(desk.studio, now())] * 8)
    assert desk.balance().settled_micros == 50 * USD
    desk.deliver()
    assert desk.balance().settled_micros == 50 * USD
    (payment,) = desk.rows(Payment)
    assert (payment.kind, payment.state) == ("automatic", "paid")
    assert settings(desk).charged_this_month_micros == 50 * USD


def test_the_answer_and_the_message_race_and_pay_once(desk: Desk) -> None:
    desk.saved_card()
    desk.automatic(threshold=20, amount=50)
    desk.standin.control("/hold", on=False)  # the message may come before the answer
    payments.run_due(desk.studio)
    payments.catch_up(desk.studio)
    assert desk.balance().settled_micros == 50 * USD
    assert len(desk.rows(Payment)) == 1


def test_an_answer_that_was_lost_is_asked_for_again_and_charges_once(desk: Desk) -> None:
    desk.saved_card()
    desk.automatic(threshold=20, amount=50)
    # What a crash between the provider's answer and our row leaves behind.
    automatic.charge_due(desk.studio, now())
    with desk.database.transaction() as session:
        session.execute(
            update(Payment).values(
                state="started", resolved_at=None, transfer_id=None, payment_intent_id=None
            )
        )
    age(desk, timedelta(minutes=5))
    payments.run_due(desk.studio)
    desk.deliver()
    assert desk.balance().settled_micros == 50 * USD
    assert [row.state for row in desk.rows(Payment)] == ["paid"]
    charges = desk.standin.client.v1.charges.list().data
    assert len(charges) == 1


def test_one_organisation_s_fault_keeps_no_other_from_its_turn(desk: Desk) -> None:
    neighbour = replace(desk, team=team(desk.database, balance_micros=0))
    for each in (desk, neighbour):
        each.saved_card()
        each.automatic(threshold=20, amount=50)
        automatic.charge_due(desk.studio, now())
    lost = {"transfer_id": None, "payment_intent_id": None}
    with desk.database.transaction() as session:
        session.execute(update(Payment).values(state="started", resolved_at=None, **lost))
    age(desk, timedelta(minutes=5))
    with desk.database.transaction() as session:
        session.execute(text(FAULT.format(organisation=desk.team.id)))
    try:
        assert payments.run_due(desk.studio) == ["charges without an answer"]
    finally:
        with desk.database.transaction() as session:
            session.execute(text("DROP FUNCTION fault CASCADE"))
    states = {row.organisation_id: row.state for row in desk.rows(Payment)}
    assert states == {desk.team.id: "started", neighbour.team.id: "paid"}


def test_a_decline_pauses_for_an_hour_and_three_turn_it_off(desk: Desk) -> None:
    desk.saved_card(LATER_DECLINED)
    desk.automatic()
    payments.run_due(desk.studio)
    payments.run_due(desk.studio)
    desk.deliver()
    assert [row.state for row in desk.rows(Payment)] == ["failed"]
    assert settings(desk).paused_until is not None
    assert [notice.kind for notice in read(desk).notices] == ["automatic_declined"]
    for declines in (2, 3):
        age(desk, timedelta(minutes=61))
        payments.run_due(desk.studio)
        assert len(desk.rows(Payment)) == declines
        if declines == 2:
            assert settings(desk).is_on
    found = settings(desk)
    assert not found.is_on
    assert "3 times" in (found.off_reason or "")
    assert [notice.kind for notice in read(desk).notices] == ["automatic_off"]
    age(desk, timedelta(hours=5))
    payments.run_due(desk.studio)
    assert len(desk.rows(Payment)) == 3
    assert desk.balance().settled_micros == 0


def test_a_bank_that_asks_its_holder_each_time_is_a_decline(desk: Desk) -> None:
    desk.saved_card()
    desk.automatic()
    desk.standin.control("/declines", reason="authentication_required")
    payments.run_due(desk.studio)
    desk.deliver()
    (payment,) = desk.rows(Payment)
    assert payment.state == "failed"
    assert settings(desk).declines == 1


def test_three_charges_within_ten_minutes_are_an_alarm(desk: Desk) -> None:
    desk.saved_card()
    desk.automatic(threshold=10_000, amount=10, ceiling=5_000)
    for _ in range(6):
        payments.run_due(desk.studio)
    assert len(desk.rows(Payment)) == 3
    assert not settings(desk).is_on
    assert "10 minutes" in (settings(desk).off_reason or "")
    assert [notice.kind for notice in read(desk).notices] == ["automatic_off"]
    payments.dismiss_notice(desk.studio, desk.team.owner, read(desk).notices[0].id)
    assert read(desk).notices == []


def test_a_month_ends_at_its_ceiling_and_the_next_one_begins_anew(desk: Desk) -> None:
    desk.saved_card()
    desk.automatic(threshold=10_000, amount=50, ceiling=120)
    for _ in range(3):
        payments.run_due(desk.studio)
    assert desk.balance().settled_micros == 100 * USD
    assert settings(desk).is_on
    assert [notice.kind for notice in read(desk).notices] == ["automatic_ceiling"]
    month = now().astimezone(UTC).replace(day=28) + timedelta(days=4)
    payments.run_due(desk.studio, datetime(month.year, month.month, 1, tzinfo=UTC))
    assert desk.balance().settled_micros == 150 * USD
    assert read(desk).notices == []


def test_what_it_needs_before_it_can_be_turned_on(desk: Desk) -> None:
    with pytest.raises(Conflict, match="card"):
        desk.automatic()
    desk.saved_card()
    with pytest.raises(InvalidAmount):
        desk.automatic(amount=50, ceiling=40)
    with pytest.raises(InvalidAmount):
        desk.automatic(threshold=-1)
    with pytest.raises(NotAllowed):
        payments.stop_automatic(desk.studio, desk.team.admin)
    desk.automatic()
    assert payments.stop_automatic(desk.studio, desk.team.finance)
    payments.run_due(desk.studio)
    assert desk.rows(Payment) == []


def test_a_card_that_is_gone_turns_it_off(desk: Desk) -> None:
    desk.saved_card()
    desk.automatic()
    card = read(desk).card
    assert card is not None
    payments.remove_card(desk.studio, desk.team.owner, card.id)
    payments.run_due(desk.studio)
    assert not settings(desk).is_on
    assert desk.rows(Payment) == []


def test_a_low_balance_is_told_once_until_it_is_no_longer_low(desk: Desk) -> None:
    payments.set_alert(desk.studio, desk.team.finance, 15 * USD)
    for _ in range(2):
        payments.run_due(desk.studio)
    (notice,) = read(desk).notices
    assert notice.kind == "low_balance"
    assert "$15.00" in notice.sentence
    desk.top_up(25)
    desk.deliver()
    payments.run_due(desk.studio)
    assert read(desk).notices == []


def test_those_that_a_brake_holds_do_not_stand_before_the_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charges, "ORGANISATIONS_AT_ONCE_MAX", 1)
    desk.saved_card()
    desk.automatic()
    neighbour = team(desk.database, balance_micros=0)
    with desk.database.transaction() as session:
        mine = session.get_one(AutomaticTopUp, desk.team.id)
        theirs = {
            name: getattr(mine, name)
            for name in AutomaticTopUp.__table__.columns.keys()  # noqa: SIM118 - no mapping
        }
        theirs |= {"organisation_id": neighbour.id, "author_id": neighbour.owner.id}
        session.add(AutomaticTopUp(**theirs))
    with desk.database.read() as session:
        seen = {found for _ in range(60) for found in charges.low(session)}
    assert seen == {desk.team.id, neighbour.id}
