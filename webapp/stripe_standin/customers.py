"""Customers: who pays, and which card is theirs by default."""

from webapp.stripe_standin import events, lists, subscriptions
from webapp.stripe_standin.fields import LISTING, Fields, allow, metadata, text, tree
from webapp.stripe_standin.store import Object, Store, new_id

TEXTS = ("email", "name", "description", "phone")
KNOWN = (*TEXTS, "metadata", "invoice_settings", "payment_method", "address", "preferred_locales")


def create(store: Store, fields: Fields) -> Object:
    """Make a customer."""
    allow(fields, *KNOWN)
    customer = store.add(
        "customer",
        **{name: text(fields, name) for name in TEXTS},
        address=fields.get("address"),
        balance=0,
        currency=None,
        default_source=None,
        delinquent=False,
        discount=None,
        invoice_prefix=new_id("")[1:9].upper(),
        invoice_settings={
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        metadata=metadata(fields),
        next_invoice_sequence=1,
        preferred_locales=fields.get("preferred_locales", []),
        shipping=None,
        tax_exempt="none",
        test_clock=None,
    )
    _set_default_card(store, customer, fields)
    events.emit(store, "customer.created", customer)
    return customer


def retrieve(store: Store, fields: Fields, customer: str) -> Object:
    """Return a customer; of a deleted one, that it is deleted."""
    allow(fields)
    gone = store.objects.get(customer, {})
    return gone if gone.get("deleted") else store.find("customer", customer)


def update(store: Store, fields: Fields, customer: str) -> Object:
    """Change what the request names."""
    allow(fields, *KNOWN)
    found = store.find("customer", customer)
    before = {name: found[name] for name in (*TEXTS, "metadata", "invoice_settings")}
    before["invoice_settings"] = dict(found["invoice_settings"])
    found |= {name: text(fields, name) for name in TEXTS if name in fields}
    found["metadata"] = metadata(fields, found["metadata"])
    _set_default_card(store, found, fields)
    changed = {name: value for name, value in before.items() if found[name] != value}
    if changed:
        events.emit(store, "customer.updated", found, changed)
    return found


def delete(store: Store, fields: Fields, customer: str) -> Object:
    """Delete a customer and end their subscriptions; their id says so from now on."""
    allow(fields)
    found = store.find("customer", customer)
    for subscription in store.all("subscription"):
        if subscription["customer"] == customer and subscription["status"] in subscriptions.LIVE:
            subscriptions.end(store, subscription)
    gone = {"id": customer, "object": "customer", "deleted": True}
    store.objects[customer] = {**gone, "created": found["created"]}
    events.emit(store, "customer.deleted", found)
    return gone


def index(store: Store, fields: Fields) -> Object:
    """List customers."""
    allow(fields, "email", "created", *LISTING)
    rows = [row for row in store.all("customer") if not row.get("deleted")]
    return lists.page(lists.matching(rows, fields, "email"), fields, "/v1/customers")


def _set_default_card(store: Store, customer: Object, fields: Fields) -> None:
    settings = tree(fields, "invoice_settings")
    if "default_payment_method" not in settings:
        return
    card = text(settings, "default_payment_method")
    if card is not None:
        store.find("payment_method", card, param="invoice_settings[default_payment_method]")
    customer["invoice_settings"]["default_payment_method"] = card
