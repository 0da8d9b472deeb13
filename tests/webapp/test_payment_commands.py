"""The operator's view of the provider's messages: `atelier payments`, listed and replayed."""

import time

import pytest
from factories import team

from licensing import ledger
from licensing.db import Database
from licensing.money import MICROS_PER_USD
from licensing.payments import cards, top_ups
from webapp.cli import main
from webapp.payments import intake


def test_a_message_that_failed_is_listed_with_its_reason_and_replayed(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", database.url)
    nord = team(database, balance_micros=0)
    with database.transaction() as session:
        payment = top_ups.begin(session, nord.id, 25 * MICROS_PER_USD, author_id=nord.owner.id)
    paid = {
        "id": "pi_1",
        "customer": "cus_nord",
        "currency": "usd",
        "amount_received": 2500,
        "metadata": {"atelier_payment": str(payment.id)},
    }
    event = {"id": "evt_1", "type": "payment_intent.succeeded", "created": int(time.time())}
    intake.receive(database, {**event, "data": {"object": paid}})
    assert main(["payments"]) == 0
    assert "evt_1 payment_intent.succeeded failed - The message names" in capsys.readouterr().out
    with database.transaction() as session:
        cards.keep_customer(session, nord.id, "cus_nord")
    assert main(["payments", "replay", "evt_1"]) == 0
    assert capsys.readouterr().out == "evt_1: applied\n"
    assert main(["payments", "replay"]) == 0
    assert capsys.readouterr().out == "There is nothing to apply.\n"
    assert main(["payments", "list", "--all"]) == 0
    assert "applied" in capsys.readouterr().out
    assert main(["payments", "replay", "evt_2"]) == 1
    assert "no event evt_2" in capsys.readouterr().err
    with database.read() as session:
        assert ledger.balance(session, nord.id).settled_micros == 25 * MICROS_PER_USD
