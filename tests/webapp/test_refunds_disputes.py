"""Refunds and disputes at a running studio: the wallet, the lots and the provider agree."""

import uuid
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from factories import team
from paying import USD, Desk, charge_of, key, open_desk
from sqlalchemy import update

from licensing import ledger
from licensing.audit import audit
from licensing.db import now
from licensing.errors import Conflict, NotAllowed, NotFound
from licensing.ledger import WalletFrozen
from licensing.payments import overview, payment_lines
from licensing.payments.tables import Payment, PaymentDispute, PaymentRefund
from webapp import payments
from webapp.cli import main


@pytest.fixture
def desk(stack: ExitStack, environ: dict[str, str]) -> Desk:
    return open_desk(stack, environ)


@pytest.fixture
def paid(desk: Desk) -> Payment:
    desk.top_up(25)
    desk.deliver()
    payment: Payment = desk.rows(Payment)[-1]
    return payment


def refund(desk: Desk, payment: Payment, usd: int, form: uuid.UUID | None = None) -> uuid.UUID:
    return payments.refund(
        desk.studio,
        desk.team.finance,
        payment.id,
        usd * USD,
        reason="asked for by the team",
        key=form or key(),
    )


def hold(desk: Desk, usd: int) -> None:
    with desk.database.transaction() as session:
        ledger.hold(
            session,
            organisation_id=desk.team.id,
            member_id=desk.team.creator.id,
            generation_id=uuid.uuid4(),
            amount_micros=usd * USD,
            price_version="test",
        )


def dispute(desk: Desk, payment: Payment, *, inquiry: bool = False) -> str:
    opened = desk.standin.control("/disputes", charge=charge_of(payment), inquiry=inquiry)
    return str(opened["id"])


def kinds(desk: Desk) -> list[str]:
    with desk.database.read() as session:
        return [notice.kind for notice in overview(session, desk.team.id).notices]


def books_are_right(desk: Desk) -> bool:
    with desk.database.read() as session:
        return audit(session) == []


def test_a_part_goes_back_once_however_often_it_is_clicked(desk: Desk, paid: Payment) -> None:
    form = key()
    for _ in range(2):
        assert refund(desk, paid, 10, form) == form
    desk.deliver()
    assert desk.balance().settled_micros == 15 * USD
    (row,) = desk.rows(PaymentRefund)
    assert (row.state, row.amount_micros) == ("paid", 10 * USD)
    assert len(desk.standin.client.v1.refunds.list().data) == 1
    with desk.database.read() as session:
        (line,) = payment_lines(session, desk.team.id)
    assert (line.refunded_micros, line.refundable_micros) == (10 * USD, 15 * USD)
    with pytest.raises(Conflict, match="another refund"):
        refund(desk, paid, 11, form)
    assert books_are_right(desk)


def test_no_more_goes_back_than_is_left_and_free(desk: Desk, paid: Payment) -> None:
    hold(desk, 20)
    with pytest.raises(Conflict, match=r"\$5\.00"):
        refund(desk, paid, 6)
    refund(desk, paid, 5)
    with pytest.raises(Conflict):
        refund(desk, paid, 21)
    assert desk.balance().available_micros == 0


def test_refunds_of_others_and_by_others_are_refused(desk: Desk, paid: Payment) -> None:
    stranger = team(desk.database).finance
    with pytest.raises(NotFound):
        payments.refund(desk.studio, stranger, paid.id, USD, reason="mine", key=key())
    with pytest.raises(NotAllowed):
        payments.refund(desk.studio, desk.team.creator, paid.id, USD, reason="mine", key=key())
    assert desk.rows(PaymentRefund) == []


def test_a_refund_that_the_bank_sends_back_is_in_the_balance_again(
    desk: Desk, paid: Payment
) -> None:
    refund(desk, paid, 10)
    row = desk.rows(PaymentRefund)[0]
    desk.standin.control(f"/refunds/{row.refund_id}/fail")
    desk.deliver(order="newest")  # the failure comes before the success that it follows
    assert desk.rows(PaymentRefund)[0].state == "failed"
    assert desk.balance().settled_micros == 25 * USD
    assert kinds(desk) == ["refund_failed"]
    with desk.database.read() as session:
        (lot,) = ledger.lots(session, desk.team.id, limit=9)  # the payment's own, not another one
        assert lot.remaining_micros == 25 * USD
    refund(desk, paid, 25)  # so all of it can be paid back after all
    assert desk.balance().settled_micros == 0
    assert books_are_right(desk)


@pytest.mark.parametrize("hours", [1, 48])  # while the provider knows our key, and after
def test_a_refund_whose_answer_was_lost_is_made_once(desk: Desk, paid: Payment, hours: int) -> None:
    refund(desk, paid, 10)
    ago = now() - timedelta(hours=hours)
    with desk.database.transaction() as session:
        session.execute(
            update(PaymentRefund).values(
                state="started", resolved_at=None, refund_id=None, created_at=ago, asked_at=ago
            )
        )
    payments.run_due(desk.studio)
    desk.deliver()
    assert [row.state for row in desk.rows(PaymentRefund)] == ["paid"]
    assert len(desk.standin.client.v1.refunds.list().data) == 1
    assert desk.balance().settled_micros == 15 * USD


def test_a_refund_made_at_the_providers_desk_is_booked(desk: Desk, paid: Payment) -> None:
    desk.standin.client.v1.refunds.create({"payment_intent": charge_of(paid), "amount": 700})
    desk.deliver()
    assert desk.balance().settled_micros == 18 * USD
    assert [row.reason for row in desk.rows(PaymentRefund)] == ["made at the provider"]
    assert books_are_right(desk)


def test_a_desk_refund_of_spent_money_is_owed_and_stops_new_work(desk: Desk, paid: Payment) -> None:
    with desk.database.transaction() as session:
        ledger.adjust(session, desk.team.id, -20 * USD, key="spent", author_id=None, reason="spent")
    desk.standin.client.v1.refunds.create({"payment_intent": charge_of(paid)})
    desk.deliver()
    assert desk.balance().settled_micros == -20 * USD
    with pytest.raises(WalletFrozen):
        hold(desk, 1)
    assert books_are_right(desk)


def test_what_is_told_before_the_payment_is_taken_up_with_it(desk: Desk) -> None:
    desk.top_up(25)
    intent = desk.standin.client.v1.payment_intents.list().data[0].id
    desk.standin.client.v1.refunds.create({"payment_intent": intent, "amount": 500})
    desk.deliver(order="newest")
    payments.replay(desk.database)
    assert desk.balance().settled_micros == 20 * USD
    assert "failed" not in desk.statuses()


def test_an_open_dispute_stops_new_work_until_it_is_won(desk: Desk, paid: Payment) -> None:
    name = dispute(desk, paid)
    desk.deliver()
    with pytest.raises(WalletFrozen, match="disputed"):
        hold(desk, 1)
    assert kinds(desk) == ["dispute"]
    with pytest.raises(Conflict, match="disputed"):
        refund(desk, paid, 1)
    desk.standin.control(f"/disputes/{name}", outcome="won")
    desk.deliver()
    hold(desk, 1)
    assert kinds(desk) == []
    assert desk.balance().settled_micros == 25 * USD


def test_each_cause_of_a_freeze_is_lifted_by_itself(desk: Desk, paid: Payment) -> None:
    name = dispute(desk, paid)
    desk.deliver()
    with desk.database.transaction() as session:
        ledger.freeze(session, desk.team.id, "we look into the account", author_id=None)
    with pytest.raises(WalletFrozen, match="disputed with the bank that made it; we look into"):
        hold(desk, 1)
    desk.standin.control(f"/disputes/{name}", outcome="won")
    desk.deliver()
    with pytest.raises(WalletFrozen, match="frozen: we look into"):
        hold(desk, 1)
    assert books_are_right(desk)
    with desk.database.transaction() as session:
        assert ledger.unfreeze(session, desk.team.id, author_id=None, reason="all is well")
    hold(desk, 1)


def test_an_open_dispute_cannot_be_lifted_by_hand(
    desk: Desk,
    paid: Payment,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dispute(desk, paid)
    desk.deliver()
    with desk.database.transaction() as session:
        assert not ledger.unfreeze(session, desk.team.id, author_id=None, reason="go on")
    with pytest.raises(WalletFrozen, match="disputed"):
        hold(desk, 1)
    monkeypatch.setenv("DATABASE_URL", desk.database.url)
    assert main(["unfreeze", str(desk.team.id), "--reason", "go on"]) == 1
    assert "when the bank has decided" in capsys.readouterr().err
    assert books_are_right(desk)


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_a_lost_dispute_takes_the_money_back_once(desk: Desk, paid: Payment, order: str) -> None:
    name = dispute(desk, paid)
    desk.standin.control(f"/disputes/{name}", outcome="lost")
    desk.deliver(order=order)
    payments.replay(desk.database)
    assert desk.balance().settled_micros == 0
    with pytest.raises(WalletFrozen):
        hold(desk, 1)
    (row,) = desk.rows(PaymentDispute)
    assert row.state == "lost"
    assert kinds(desk) == ["dispute_lost"]
    assert books_are_right(desk)


def test_an_inquiry_stops_nothing_until_it_becomes_a_dispute(desk: Desk, paid: Payment) -> None:
    name = dispute(desk, paid, inquiry=True)
    desk.deliver()
    hold(desk, 1)
    desk.standin.control(f"/disputes/{name}", outcome="escalated")
    desk.deliver()
    with pytest.raises(WalletFrozen):
        hold(desk, 1)


def test_a_refund_that_was_asked_in_other_words_is_not_taken_for_refused(
    desk: Desk, paid: Payment
) -> None:
    """The provider may have made it: the wallet must not have the money back, too."""
    form = key()
    earlier: Any = {
        "payment_intent": paid.payment_intent_id,
        "amount": 500,
        "metadata": {"atelier_refund": str(form)},
    }
    desk.standin.client.v1.refunds.create(earlier, {"idempotency_key": f"refund:{form}"})
    with pytest.raises(payments.ProviderAway):
        refund(desk, paid, 5, form)
    assert desk.balance().settled_micros == 20 * USD
    desk.deliver()
    assert desk.rows(PaymentRefund)[-1].state == "paid"
    assert desk.balance().settled_micros == 20 * USD
    assert books_are_right(desk)
