"""The stand-in for Stripe, as the real SDK and a payer's browser see it: the first payment."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import stripe
from standin_at_work import CONFIRMED, DECLINED, OK, Standin, client_of, open_standin

from webapp.settings import SettingsProblem, read_settings
from webapp.stripe_standin.app import build_stripe_standin

BACK = "http://127.0.0.1:1/finance?paid=1&session={CHECKOUT_SESSION_ID}"


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[Standin]:
    with ExitStack() as stack:
        yield open_standin(stack, tmp_path)


def checkout(standin: Standin, cents: int = 2500) -> stripe.checkout.Session:
    customer = standin.client.v1.customers.create({"name": "Çelik & Søn", "email": "a@b.example"})
    return standin.client.v1.checkout.sessions.create(
        {
            "mode": "payment",
            "customer": customer.id,
            "client_reference_id": "our-own-7",
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": "usd",
                        "unit_amount": cents,
                        "product_data": {"name": "Balance"},
                    },
                }
            ],
            "metadata": {"payment": "7"},
            "payment_intent_data": {
                "metadata": {"payment": "7"},
                "setup_future_usage": "off_session",
            },
            "success_url": BACK,
            "cancel_url": "http://127.0.0.1:1/finance?paid=0",
        }
    )


def test_a_payer_pays_on_the_page_and_signed_events_say_so(standin: Standin) -> None:
    session = checkout(standin)
    assert (session.status, session.payment_status) == ("open", "unpaid")
    assert session.payment_intent is None
    assert session.url is not None
    shown = standin.http.get(session.url).text
    assert "No money moves" in shown
    assert "$25.00" in shown
    paid = standin.pay(session.url, OK)
    assert paid.status_code == 303
    assert paid.headers["location"] == BACK.replace("{CHECKOUT_SESSION_ID}", session.id)
    heard = standin.deliver()
    assert heard[-1] == "checkout.session.completed"
    assert {"payment_intent.succeeded", "charge.succeeded", "payment_method.attached"} < set(heard)
    done = standin.listener.last("checkout.session.completed")
    assert (done.status, done.payment_status, done.amount_total) == ("complete", "paid", 2500)
    assert (done.client_reference_id, done.metadata["payment"]) == ("our-own-7", "7")
    intent = standin.client.v1.payment_intents.retrieve(
        done.payment_intent, {"expand": ["latest_charge"]}
    )
    assert (intent.status, intent.amount_received, intent.metadata["payment"]) == (
        "succeeded",
        2500,
        "7",
    )
    assert isinstance(intent.latest_charge, stripe.Charge)
    assert intent.latest_charge.receipt_url is not None
    assert "proves no payment" in standin.http.get(intent.latest_charge.receipt_url).text
    assert "paid already" in standin.http.get(session.url).text


def test_a_declined_card_may_be_followed_by_another(standin: Standin) -> None:
    session = checkout(standin)
    assert session.url is not None
    refused = standin.pay(session.url, DECLINED)
    assert refused.status_code == 402
    assert "Your card was declined." in refused.text
    assert standin.pay(session.url, OK).status_code == 303
    heard = standin.deliver()
    assert heard.index("payment_intent.payment_failed") < heard.index("payment_intent.succeeded")
    assert heard.count("payment_intent.created") == 1


def test_a_bank_may_ask_the_holder_first(standin: Standin) -> None:
    for answer, status in (("no", 402), ("yes", 303)):
        session = checkout(standin)
        assert session.url is not None
        asked = standin.pay(session.url, CONFIRMED)
        assert asked.status_code == 303
        where = asked.headers["location"]
        assert "Pay $25.00?" in standin.http.get(where).text
        assert standin.http.post(where, data={"answer": answer}).status_code == status
        assert standin.http.post(where, data={"answer": "yes"}).status_code == 404, "asked once"
    assert standin.deliver().count("payment_intent.succeeded") == 1


def test_no_real_card_is_taken_or_kept(standin: Standin, tmp_path: Path) -> None:
    session = checkout(standin)
    assert session.url is not None
    real = "4111 1111 1111 1111"
    refused = standin.pay(session.url, real)
    assert refused.status_code == 422
    assert "never be typed here" in refused.text
    assert real not in refused.text
    assert standin.pay(session.url, OK).status_code == 303
    kept = (tmp_path / "stripe-standin.json").read_text()
    for number in (real, OK):
        assert number not in kept
        assert number.replace(" ", "") not in kept


def test_one_key_is_one_request(standin: Standin) -> None:
    create = standin.client.v1.customers.create
    first = create({"name": "One"}, {"idempotency_key": "k1"})
    again = create({"name": "One"}, {"idempotency_key": "k1"})
    assert first.id == again.id
    with pytest.raises(stripe.IdempotencyError):
        create({"name": "Two"}, {"idempotency_key": "k1"})
    assert len(standin.client.v1.customers.list().data) == 1
    standin.control("/advance", days=1)
    assert create({"name": "One"}, {"idempotency_key": "k1"}).id != first.id, "keys last a day"


def test_wrong_requests_are_refused_as_stripe_refuses_them(standin: Standin) -> None:
    client = standin.client.v1
    with pytest.raises(stripe.AuthenticationError, match="must never be sent here"):
        client_of(standin.settings, "sk_live_something").v1.customers.list()
    with pytest.raises(stripe.InvalidRequestError, match="No such customer") as gone:
        client.customers.retrieve("cus_nobody")
    assert (gone.value.http_status, gone.value.code) == (404, "resource_missing")
    for cents in (-1, 0, 49, 100_000_000):
        with pytest.raises(stripe.InvalidRequestError):
            checkout(standin, cents)
    with pytest.raises(stripe.InvalidRequestError, match="unknown parameter: colour"):
        client.customers.create({"colour": "red"})  # type: ignore[arg-type]
    with pytest.raises(stripe.InvalidRequestError, match="does not know POST /v1/coupons"):
        client.coupons.create({"percent_off": 10})


def test_a_restart_keeps_what_was(tmp_path: Path) -> None:
    with ExitStack() as first:
        standin = open_standin(first, tmp_path)
        session = checkout(standin)
        made = standin.client.v1.customers.create({"name": "K"}, {"idempotency_key": "k"})
        port = standin.settings.port
    with ExitStack() as second:
        standin = open_standin(second, tmp_path, port)
        again = standin.client.v1.customers.create({"name": "K"}, {"idempotency_key": "k"})
        assert again.id == made.id
        assert session.url is not None
        assert standin.pay(session.url, OK).status_code == 303
        assert standin.deliver()[-1] == "checkout.session.completed"


def test_it_answers_this_machine_alone(standin: Standin) -> None:
    elsewhere = {"x-forwarded-for": "198.51.100.7"}
    for path in ("/v1/customers", "/control", "/checkout/cs_test_x"):
        answer = standin.http.get(f"/stripe-standin{path}", headers=elsewhere)
        assert answer.status_code == 403
    with pytest.raises(SettingsProblem, match="on this machine alone"):
        read_settings(
            {
                "STRIPE_SECRET_KEY": "standin",
                "ATELIER_URL": "https://art.example.org",
                "OIDC_ISSUER": "https://id.example.org",
                "OIDC_CLIENT_ID": "atelier",
            }
        )
    real = {"STRIPE_SECRET_KEY": "sk_test_1", "STRIPE_WEBHOOK_SECRET": "whsec_1"}
    with pytest.raises(SettingsProblem, match="beside Stripe"):
        build_stripe_standin(read_settings(real))
