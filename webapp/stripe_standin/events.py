"""Events: what happened, as it was when it happened, kept and put in the post for the webhook."""

import copy
from typing import Any

from webapp.stripe_standin import lists
from webapp.stripe_standin.fields import LISTING, Fields, allow
from webapp.stripe_standin.store import Object, Store, new_id

API_VERSION = "2026-10-28.endive"  # the one that SDK 16.1 speaks


def emit(
    store: Store, event_type: str, about: Object, previous: dict[str, Any] | None = None
) -> Object:
    """Record that something happened to `about`, and post it. `previous`: fields as they were."""
    data: dict[str, Any] = {"object": copy.deepcopy(about)}
    if previous:
        data["previous_attributes"] = copy.deepcopy(previous)
    event = store.add(
        "event",
        api_version=API_VERSION,
        type=event_type,
        data=data,
        pending_webhooks=1,
        request={"id": None, "idempotency_key": None},
    )
    post(store, event["id"])
    return event


def post(store: Store, event_id: str) -> Object:
    """Put an event in the post, again or for the first time."""
    message = {
        "id": new_id("msg"),
        "event": event_id,
        "status": "held" if store.is_holding else "waiting",
        "attempts": 0,
        "due_at": 0,  # seconds of the machine's clock; 0 is at once
        "answer": "",
    }
    store.messages.append(message)
    return message


def index(store: Store, fields: Fields) -> Object:
    """List events, newest first, by type and time."""
    allow(fields, "type", "types", "created", "delivery_success", *LISTING)
    rows = store.all("event")
    wanted = fields.get("types") or ([fields["type"]] if "type" in fields else None)
    if wanted is not None:
        rows = [row for row in rows if row["type"] in wanted]
    return lists.page(rows, fields, "/v1/events")


def retrieve(store: Store, fields: Fields, event: str) -> Object:
    """Return one event as it was sent."""
    allow(fields)
    return store.find("event", event)
