"""All that Stripe has to say, at once: doubled, shuffled, on many threads; the books agree.

The truth is what the stand-in knows when all is quiet: paid, less sent back, less taken back.
"""

import random
from contextlib import ExitStack
from datetime import timedelta
from functools import partial

import pytest
from paying import USD, Desk, charge_of, key, open_desk
from racing import race
from sqlalchemy import update
from standin_at_work import DECLINED, OK

from licensing.audit import audit
from licensing.ledger import Transfer
from licensing.payments.tables import Payment, PaymentEvent
from webapp import payments
from webapp.payments.due import catch_up

COPIES = 3  # of each message
ROUNDS_MAX = 3  # of what is due, until nothing is


@pytest.fixture
def desk(stack: ExitStack, environ: dict[str, str]) -> Desk:
    return open_desk(stack, environ)


def much_happens(desk: Desk) -> None:
    """Three payments, one after a decline; a part sent back, a dispute won, a dispute lost."""
    client = desk.standin.client.v1
    for usd in (10, 25, 50):
        url = payments.start_top_up(desk.studio, desk.team.finance, usd * USD)
        if usd == 25:
            assert desk.standin.pay(url, DECLINED).status_code == 402
        assert desk.standin.pay(url, OK).status_code == 303
    newest_first = client.payment_intents.list().data
    fifty, twenty_five, ten = (intent.id for intent in newest_first)
    client.refunds.create({"payment_intent": ten, "amount": 400})
    for intent, outcome in ((fifty, "won"), (twenty_five, "lost")):
        opened = desk.standin.control("/disputes", charge=intent)
        desk.standin.control(f"/disputes/{opened['id']}", outcome=outcome)


def truth_micros(desk: Desk) -> int:
    client = desk.standin.client.v1
    cents = sum(c.amount_captured - c.amount_refunded for c in client.charges.list().data)
    cents -= sum(d.amount for d in client.disputes.list().data if d.status == "lost")
    return cents * USD // 100


@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm_of_messages_leaves_the_truth(desk: Desk, seed: int) -> None:
    much_happens(desk)
    order = random.Random(seed)
    told = [m["event"] for m in desk.standin.control()["messages"]] * COPIES
    order.shuffle(told)
    answers = race([partial(desk.standin.control, "/send", event=event) for event in told])
    assert {status for answer in answers for status in answer["statuses"]} == {200}
    # A refund that is told at the very moment its payment is booked is looked at again seconds
    # later: they have passed.
    with desk.database.transaction() as session:
        earlier = PaymentEvent.received_at - timedelta(minutes=10)
        session.execute(update(PaymentEvent).values(received_at=earlier))
    for _ in range(ROUNDS_MAX):
        payments.run_due(desk.studio)
    assert truth_micros(desk) == 56 * USD
    assert desk.balance().settled_micros == truth_micros(desk)
    assert desk.balance().frozen_reason is not None, "a dispute was lost"
    assert len(desk.rows(PaymentEvent)) == len(set(told))
    assert set(desk.statuses()) <= {"applied", "ignored"}
    assert len([t for t in desk.rows(Transfer) if t.kind == "top_up"]) == 3
    with desk.database.read() as session:
        assert audit(session) == []


def test_the_providers_list_is_enough_when_no_message_ever_comes(desk: Desk) -> None:
    much_happens(desk)
    catch_up(desk.studio)
    for _ in range(ROUNDS_MAX):
        payments.run_due(desk.studio)
    assert desk.balance().settled_micros == truth_micros(desk) == 56 * USD
    with desk.database.read() as session:
        assert audit(session) == []


def test_a_form_clicked_four_times_amid_old_messages_sends_one_refund(desk: Desk) -> None:
    desk.top_up(25)
    desk.deliver()
    payment: Payment = desk.rows(Payment)[-1]
    form = key()
    ask = partial(
        payments.refund,
        desk.studio,
        desk.team.finance,
        payment.id,
        10 * USD,
        reason="twice clicked",
        key=form,
    )
    told = [m["event"] for m in desk.standin.control()["messages"]]
    again = [partial(desk.standin.control, "/send", event=event) for event in told]
    race([*([ask] * 4), *again])
    desk.deliver()
    charge = desk.standin.client.v1.payment_intents.retrieve(charge_of(payment)).latest_charge
    assert desk.standin.client.v1.charges.retrieve(str(charge)).amount_refunded == 1000
    assert desk.balance().settled_micros == 15 * USD
