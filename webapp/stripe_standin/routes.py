"""What the stand-in answers: each of Stripe's addresses that is used here, and who answers it."""

from collections.abc import Callable

from webapp.stripe_standin import (
    charges,
    checkout,
    customers,
    disputes,
    events,
    payment_intents,
    payment_methods,
    prices,
    refunds,
    setup_intents,
)
from webapp.stripe_standin.store import Object

# Called with the store, the request's fields, and by name what the path holds.
Handler = Callable[..., Object]

ROUTES: dict[str, Handler] = {
    "POST /v1/customers": customers.create,
    "GET /v1/customers": customers.index,
    "GET /v1/customers/{customer}": customers.retrieve,
    "POST /v1/customers/{customer}": customers.update,
    "DELETE /v1/customers/{customer}": customers.delete,
    "GET /v1/customers/{customer}/payment_methods": payment_methods.index,
    "POST /v1/payment_methods": payment_methods.create,
    "GET /v1/payment_methods": payment_methods.index,
    "GET /v1/payment_methods/{payment_method}": payment_methods.retrieve,
    "POST /v1/payment_methods/{payment_method}/attach": payment_methods.attach,
    "POST /v1/payment_methods/{payment_method}/detach": payment_methods.detach,
    "POST /v1/products": prices.create_product,
    "GET /v1/products/{product}": prices.retrieve_product,
    "POST /v1/prices": prices.create,
    "GET /v1/prices": prices.index,
    "GET /v1/prices/{price}": prices.retrieve,
    "POST /v1/checkout/sessions": checkout.create,
    "GET /v1/checkout/sessions": checkout.index,
    "GET /v1/checkout/sessions/{session}": checkout.retrieve,
    "POST /v1/checkout/sessions/{session}/expire": checkout.expire,
    "GET /v1/setup_intents/{intent}": setup_intents.retrieve,
    "POST /v1/payment_intents": payment_intents.create,
    "GET /v1/payment_intents": payment_intents.index,
    "GET /v1/payment_intents/{intent}": payment_intents.retrieve,
    "POST /v1/payment_intents/{intent}": payment_intents.update,
    "POST /v1/payment_intents/{intent}/confirm": payment_intents.confirm,
    "POST /v1/payment_intents/{intent}/cancel": payment_intents.cancel,
    "GET /v1/charges": charges.index,
    "GET /v1/charges/{charge}": charges.retrieve,
    "POST /v1/refunds": refunds.create,
    "GET /v1/refunds": refunds.index,
    "GET /v1/refunds/{refund}": refunds.retrieve,
    "GET /v1/disputes": disputes.index,
    "GET /v1/disputes/{dispute}": disputes.retrieve,
    "GET /v1/events": events.index,
    "GET /v1/events/{event}": events.retrieve,
}
