"""Invoice items: lines written by hand, on a draft or waiting for the customer's next invoice."""

from webapp.stripe_standin import invoice_lines
from webapp.stripe_standin.fields import (
    AMOUNT_MAX,
    Fields,
    allow,
    currency,
    integer,
    metadata,
    required,
    text,
    tree,
)
from webapp.stripe_standin.problems import StripeProblem
from webapp.stripe_standin.store import Object, Store


def create(store: Store, fields: Fields) -> Object:
    """Write a line: onto a draft, or for the customer's next invoice."""
    allow(
        fields,
        "customer",
        "invoice",
        "amount",
        "currency",
        "description",
        "metadata",
        "quantity",
        "pricing",
    )
    required(fields, "customer")
    customer = store.find("customer", text(fields, "customer"), param="customer")
    quantity = integer(fields, "quantity", least=1) or 1
    if "pricing" in fields:
        price = store.find("price", text(tree(fields, "pricing"), "price"), param="pricing[price]")
        amount, money = price["unit_amount"] * quantity, price["currency"]
        pricing = invoice_lines.pricing(price)
    else:
        required(fields, "amount")
        amount = integer(fields, "amount", least=-AMOUNT_MAX) or 0
        money, pricing = currency(fields), None
    now = store.now()
    item = store.add(
        "invoiceitem",
        amount=amount,
        currency=money,
        customer=customer["id"],
        date=now,
        description=text(fields, "description"),
        discountable=True,
        discounts=[],
        invoice=None,
        metadata=metadata(fields),
        parent=None,
        period={"start": now, "end": now},
        pricing=pricing,
        proration=False,
        quantity=quantity,
        quantity_decimal=str(quantity),
        tax_rates=[],
        test_clock=None,
    )
    if "invoice" in fields:
        _put(editable(store, str(fields["invoice"])), item)
    return item


def take_pending(store: Store, invoice: Object) -> None:
    """Put the customer's waiting lines onto a draft."""
    for item in store.all("invoiceitem"):
        if item["invoice"] is None and item["customer"] == invoice["customer"]:
            _put(invoice, item)


def editable(store: Store, invoice: str) -> Object:
    """Return a draft; raises `StripeProblem` for an invoice that is closed."""
    found = store.find("invoice", invoice, param="invoice")
    if found["status"] != "draft":
        raise StripeProblem(
            f"This invoice is {found['status']}; only a draft can change.",
            code="invoice_not_editable",
        )
    return found


def _put(invoice: Object, item: Object) -> None:
    if item["currency"] != invoice["currency"] or item["customer"] != invoice["customer"]:
        raise StripeProblem(
            "The line has another customer or currency than the invoice.", param="invoice"
        )
    item["invoice"] = invoice["id"]
    invoice_lines.add(invoice, [invoice_lines.for_item(item, invoice)])
