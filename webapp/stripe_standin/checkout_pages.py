"""What a payer sees: Checkout, the bank's question, invoices, receipts. No money moves, each says.

They work without a script. A test card's number is looked up and forgotten; any other number is
refused, so that nobody leaves a real one here.
"""

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.responses import RedirectResponse, Response

from licensing.errors import NotFound
from webapp.pages import page
from webapp.payment_settings import STANDIN_PATH
from webapp.stripe_standin import (
    checkout,
    checkout_payments,
    clock,
    invoice_payments,
    payment_intents,
    periods,
    setup_intents,
)
from webapp.stripe_standin.cards import CARDS, by_number
from webapp.stripe_standin.postman import Postman
from webapp.stripe_standin.problems import CardProblem, NoSuchObject, StripeProblem
from webapp.stripe_standin.store import Object, Store

UNKNOWN_CARD = (
    "Only the test cards listed here work. If this was a real card: it was not kept, and it must "
    "never be typed here."
)
REFUSED_BY_HOLDER = "You did not confirm the payment, so nothing was paid. Try again."


def router(store: Store, postman: Postman) -> APIRouter:
    """Return the pages of the stand-in that a payer sees."""
    desk = Desk(store, postman)
    made = APIRouter(include_in_schema=False)
    made.add_api_route("/checkout/{session}", desk.show, methods=["GET"])
    made.add_api_route("/checkout/{session}", desk.pay, methods=["POST"])
    made.add_api_route("/confirm/{intent}", desk.ask, methods=["GET"])
    made.add_api_route("/confirm/{intent}", desk.confirm, methods=["POST"])
    made.add_api_route("/invoices/{invoice}", desk.invoice, methods=["GET"])
    made.add_api_route("/invoices/{invoice}", desk.pay_invoice, methods=["POST"])
    made.add_api_route("/receipts/{charge}", desk.receipt, methods=["GET"])
    return made


class Desk:
    """The pages' handlers, and the store and the postman that they share with the API."""

    def __init__(self, store: Store, postman: Postman) -> None:
        self._store = store
        self._postman = postman

    async def show(self, session: str, card: str = "") -> Response:
        """Show what is bought, and ask for a card."""
        clock.catch_up(self._store)
        found = self._find("checkout.session", session)
        self._done()
        if found["status"] != "open":
            return page("stripe_done.html", session=found)
        return self._form(found, card, "")

    async def pay(self, session: str, number: Annotated[str, Form()] = "") -> Response:
        """Try the card; lead on to the studio, to the bank's question, or say what is wrong."""
        clock.catch_up(self._store)
        found = self._find("checkout.session", session)
        if found["status"] != "open":
            return page("stripe_done.html", session=found)
        card = by_number(number)
        if card is None:
            return self._form(found, "", UNKNOWN_CARD, status=422)
        try:
            asking = checkout_payments.pay(self._store, found, card)
        except CardProblem as declined:
            self._done()
            return self._form(found, number, declined.message, status=402)
        except StripeProblem as problem:
            self._store.forget()
            return self._form(found, number, problem.message, status=422)
        self._done()
        if asking is not None:
            return RedirectResponse(asking["next_action"]["redirect_to_url"]["url"], 303)
        return RedirectResponse(_return_url(found), 303)

    async def ask(self, intent: str) -> Response:
        """Show what a bank shows that wants its card's holder to confirm."""
        found = self._asking(intent)
        return page("stripe_confirm.html", intent=found, action=f"{STANDIN_PATH}/confirm/{intent}")

    async def confirm(self, intent: str, answer: Annotated[str, Form()]) -> Response:
        """Take the holder's yes or no, and lead on."""
        found = self._asking(intent)
        session = self._session(found)
        method = self._store.find("payment_method", found["payment_method"])
        is_setup = found["object"] == "setup_intent"
        if answer == "yes" and is_setup:
            setup_intents.attempt(self._store, found, method, is_confirmed=True)
        elif answer == "yes":
            payment_intents.succeed(self._store, found, method)
        else:
            found |= {
                "status": "requires_payment_method",
                "payment_method": None,
                "next_action": None,
            }
        if answer == "yes" and session is not None:
            checkout_payments.complete(self._store, session)
        self._done()
        if session is None:
            return page("stripe_done.html", session=None)
        if answer != "yes":
            return self._form(session, "", REFUSED_BY_HOLDER, status=402)
        return RedirectResponse(_return_url(session), 303)

    async def receipt(self, charge: str) -> Response:
        """Show what was paid."""
        found = self._find("charge", charge)
        return page("stripe_receipt.html", charge=found)

    async def invoice(self, invoice: str) -> Response:
        """Show an invoice, and a way to pay it."""
        return self._invoice(self._find("invoice", invoice), "")

    async def pay_invoice(
        self, invoice: str, number: Annotated[str, Form()] = "", how: Annotated[str, Form()] = ""
    ) -> Response:
        """Pay an open invoice by a test card or, as if it were, by bank transfer."""
        found = self._find("invoice", invoice)
        card = by_number(number)
        if found["status"] not in ("open", "uncollectible"):
            return self._invoice(found, f"This invoice is {found['status']}.", status=409)
        if how == "transfer":
            invoice_payments.note(self._store, found)
        elif card is None:
            return self._invoice(found, UNKNOWN_CARD, status=422)
        else:
            try:
                invoice_payments.take(self._store, found, card.token)
            except CardProblem as declined:
                self._done()
                return self._invoice(found, declined.message, status=402)
        self._done()
        return RedirectResponse(found["hosted_invoice_url"], 303)

    def _invoice(self, invoice: Object, problem: str, *, status: int = 200) -> Response:
        return page(
            "stripe_invoice.html",
            status=status,
            action=f"{STANDIN_PATH}/invoices/{invoice['id']}",
            invoice=invoice,
            due=periods.day(invoice["due_date"]) if invoice["due_date"] else None,
            problem=problem,
        )

    def _form(self, session: Object, card: str, problem: str, *, status: int = 200) -> Response:
        return page(
            "stripe_checkout.html",
            status=status,
            action=f"{STANDIN_PATH}/checkout/{session['id']}",
            session=session,
            items=checkout.items_of(self._store, session),
            cards=CARDS,
            number=card,
            problem=problem,
        )

    def _asking(self, intent: str) -> Object:
        found = self._store.objects.get(intent, {})
        if found.get("status") != "requires_action":
            raise NotFound("There is nothing to confirm here any more.")
        return found

    def _session(self, intent: Object) -> Object | None:
        found = checkout_payments.by_intent(self._store, intent["id"])
        return found if found is not None and found["status"] == "open" else None

    def _find(self, kind: str, object_id: str) -> Object:
        try:
            return self._store.find(kind, object_id)
        except NoSuchObject:
            raise NotFound("The stand-in for Stripe has no such page.") from None

    def _done(self) -> None:
        self._store.save()
        self._postman.ring()


def _return_url(session: Object) -> str:
    url: str = session["success_url"]
    return url.replace("{CHECKOUT_SESSION_ID}", session["id"])
