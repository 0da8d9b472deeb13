"""All that the stand-in knows: objects by id, answers given, messages on their way; one file.

The file lies in the state folder and is written whole after each request that did something, so a
restart goes on where it was. Everything happens on one event loop, one request after the other;
there is nothing to lock. A request that fails half-way is forgotten by reading the file's text
again.
"""

import copy
import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from webapp.settings import SettingsProblem
from webapp.stripe_standin.problems import NoSuchObject

Object = dict[str, Any]
Due = tuple[int, Callable[[], object]]  # when something happens by itself, and what

PREFIXES = {
    "balance_transaction": "txn",
    "charge": "ch",
    "checkout.session": "cs_test",
    # what a Checkout page sells
    "item": "li",
    "customer": "cus",
    "dispute": "du",
    "event": "evt",
    "invoice": "in",
    "invoice_payment": "inpay",
    "invoiceitem": "ii",
    "line_item": "il",
    "payment_intent": "pi",
    "payment_method": "pm",
    "price": "price",
    "product": "prod",
    "refund": "re",
    "setup_intent": "seti",
    "subscription": "sub",
    "subscription_item": "si",
    "subscription_schedule": "sub_sched",
}
EVENTS_KEPT_MAX = 500  # the file is written whole, on the event loop: some 2 MB in 20 ms
ANSWERS_KEPT_MAX = 500


class Store:
    """The stand-in's memory. `ahead_seconds` is how far its clock was put forward."""

    moment: int | None  # when the thing was due that happens now
    objects: dict[str, Object]
    answers: dict[str, Object]  # idempotency key -> what was asked and what was answered
    messages: list[Object]  # events on their way to the webhook, oldest first
    ahead_seconds: int
    is_holding: bool  # messages wait until somebody sends them by hand
    declines: list[str]  # how the next payments end, whatever their card

    def __init__(self, path: Path, url: str) -> None:
        self.url = url  # where the stand-in answers: its pages' addresses begin with it
        self._path = path
        self._text = path.read_text() if path.exists() else "{}"
        try:
            self.forget()
        except ValueError as error:
            raise SettingsProblem(
                f"{path} is not what the stand-in for Stripe wrote there; delete it to begin anew."
            ) from error

    def forget(self) -> None:
        """Go back to what was saved last."""
        self.moment = None
        data = json.loads(self._text)
        self.objects = data.get("objects", {})
        self.answers = data.get("answers", {})
        self.messages = data.get("messages", [])
        self.ahead_seconds = data.get("ahead_seconds", 0)
        self.is_holding = data.get("is_holding", False)
        self.declines = data.get("declines", [])

    def save(self) -> None:
        """Write everything, whole or not at all."""
        self._prune()
        data = {
            "objects": self.objects,
            "answers": self.answers,
            "messages": self.messages,
            "ahead_seconds": self.ahead_seconds,
            "is_holding": self.is_holding,
            "declines": self.declines,
        }
        text = json.dumps(data)
        if text == self._text:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".part")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        partial.replace(self._path)
        self._text = text

    def now(self) -> int:
        """Return the stand-in's time in whole seconds: the machine's, and what it was put ahead.

        While something happens that was due earlier, that moment (`clock`).
        """
        return self.moment or int(time.time()) + self.ahead_seconds

    def add(self, kind: str, /, **values: Any) -> Object:
        """Keep a new object of `kind` with an id of its own, unless `values` name one."""
        made: Object = {"id": new_id(PREFIXES[kind]), "object": kind, "created": self.now()}
        made |= {"livemode": False, **values}
        self.objects[made["id"]] = made
        return made

    def find(self, kind: str, object_id: str | None, *, param: str = "id") -> Object:
        """Return the object of `kind` with this id; raises `NoSuchObject`, also if deleted."""
        found = self.objects.get(object_id or "")
        if found is None or found["object"] != kind or found.get("deleted"):
            raise NoSuchObject(kind.replace(".", " "), object_id or "", param)
        return found

    def all(self, kind: str) -> list[Object]:
        """Return the objects of `kind`, oldest first."""
        return [found for found in self.objects.values() if found["object"] == kind]

    def _prune(self) -> None:
        events = [event["id"] for event in self.all("event")]
        for event_id in events[:-EVENTS_KEPT_MAX]:
            del self.objects[event_id]
        self.messages = [m for m in self.messages if m["event"] in self.objects]
        for key in list(self.answers)[:-ANSWERS_KEPT_MAX]:
            del self.answers[key]


def new_id(prefix: str) -> str:
    """Return an id as Stripe makes them: what it names, and letters that nobody guesses."""
    return f"{prefix}_{secrets.token_hex(12)}"


def listing(rows: list[Any], url: str, *, has_more: bool = False) -> Object:
    """Return rows in Stripe's list shape."""
    return {"object": "list", "url": url, "has_more": has_more, "data": rows}


def expanded(store: Store, answer: Object, paths: list[str]) -> Object:
    """Return a copy of `answer` with the objects at `paths` in the place of their ids."""
    answer = copy.deepcopy(answer)
    for path in paths:
        _expand(store, answer, path.split("."))
    return answer


def _expand(store: Store, here: Any, steps: list[str]) -> None:
    if isinstance(here, list):
        for row in here:
            _expand(store, row, steps)
        return
    if not isinstance(here, dict) or steps[0] not in here:
        return
    value = here[steps[0]]
    if isinstance(value, str) and value in store.objects:
        here[steps[0]] = value = copy.deepcopy(store.objects[value])
    if len(steps) > 1:
        _expand(store, value, steps[1:])
