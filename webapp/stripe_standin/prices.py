"""Products and prices: what is sold. Three seat prices are there from the start."""

from decimal import Decimal, InvalidOperation

from webapp.stripe_standin import events, lists
from webapp.stripe_standin.fields import (
    AMOUNT_MAX,
    LISTING,
    Fields,
    allow,
    boolean,
    choice,
    currency,
    integer,
    metadata,
    required,
    text,
    tree,
)
from webapp.stripe_standin.problems import StripeProblem
from webapp.stripe_standin.store import Object, Store

# Cents a seat and month: round figures of the stand-in's own, named by `webapp.payment_settings`.
SEAT_PRICES = {"individual": 1_000, "business": 2_000, "enterprise": 4_000}
INTERVALS = ("day", "week", "month", "year")


def seed(store: Store) -> None:
    """Put the seat prices on sale, if they are not."""
    for tier, cents in SEAT_PRICES.items():
        price_id = f"price_standin_{tier}"
        if price_id not in store.objects:
            product = _product(store, f"{tier.capitalize()} seat", id=f"prod_standin_{tier}")
            _price(store, product, "usd", cents, {"interval": "month"}, id=price_id)


def create(store: Store, fields: Fields) -> Object:
    """Put a product on sale at a price, once or by the period."""
    allow(
        fields,
        "currency",
        "unit_amount",
        "unit_amount_decimal",
        "product",
        "product_data",
        "recurring",
        "metadata",
        "nickname",
        "lookup_key",
    )
    price = from_data(store, fields)
    price |= {name: text(fields, name) for name in ("nickname", "lookup_key")}
    price["metadata"] = metadata(fields)
    events.emit(store, "price.created", price)
    return price


def from_data(store: Store, data: Fields) -> Object:
    """Keep the price that `data` describes (price_data of other requests, too)."""
    cents = _unit_amount(data)
    if "product" in data:
        product = store.find("product", text(data, "product"), param="product")
    else:
        about = tree(data, "product_data")
        required(about, "name")
        product = _product(store, str(about["name"]), description=text(about, "description"))
    recurring = tree(data, "recurring") or None
    if recurring is not None:
        choice(recurring, "interval", INTERVALS)
    return _price(store, product, currency(data), cents, recurring)


def create_product(store: Store, fields: Fields) -> Object:
    """Name something that can be sold."""
    allow(fields, "name", "description", "metadata", "active", "id")
    required(fields, "name")
    own = {"id": str(fields["id"])} if "id" in fields else {}
    product = _product(store, str(fields["name"]), description=text(fields, "description"), **own)
    product |= {"metadata": metadata(fields), "active": boolean(fields, "active", default=True)}
    events.emit(store, "product.created", product)
    return product


def retrieve(store: Store, fields: Fields, price: str) -> Object:
    """Return one price."""
    allow(fields)
    return store.find("price", price)


def retrieve_product(store: Store, fields: Fields, product: str) -> Object:
    """Return one product."""
    allow(fields)
    return store.find("product", product)


def index(store: Store, fields: Fields) -> Object:
    """List prices."""
    allow(fields, "product", "currency", "active", "type", "lookup_keys", *LISTING)
    rows = lists.matching(store.all("price"), fields, "product", "currency", "type")
    if "lookup_keys" in fields:
        rows = [row for row in rows if row["lookup_key"] in fields["lookup_keys"]]
    return lists.page(rows, fields, "/v1/prices")


def _unit_amount(data: Fields) -> int:
    written = text(data, "unit_amount_decimal")
    if written is None:
        required(data, "unit_amount")
        return integer(data, "unit_amount") or 0
    try:
        cents = Decimal(written)
    except InvalidOperation:
        raise StripeProblem(f"Invalid decimal: {written}", param="unit_amount_decimal") from None
    if cents != cents.to_integral_value() or not 0 <= cents <= AMOUNT_MAX:
        raise StripeProblem("The stand-in's prices are whole cents.", param="unit_amount_decimal")
    return int(cents)


def _product(store: Store, name: str, **values: str | None) -> Object:
    return store.add(
        "product",
        **{"description": None, **values},
        active=True,
        default_price=None,
        images=[],
        marketing_features=[],
        metadata={},
        name=name,
        type="service",
        unit_label=None,
        updated=store.now(),
        url=None,
    )


def _price(
    store: Store, product: Object, money: str, cents: int, recurring: Fields | None, **values: str
) -> Object:
    interval = recurring and {
        "interval": recurring["interval"],
        "interval_count": integer(recurring, "interval_count", least=1, most=36) or 1,
        "meter": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }
    return store.add(
        "price",
        **values,
        active=True,
        billing_scheme="per_unit",
        currency=money,
        custom_unit_amount=None,
        lookup_key=None,
        metadata={},
        nickname=None,
        product=product["id"],
        recurring=interval,
        tax_behavior="unspecified",
        tiers_mode=None,
        transform_quantity=None,
        type="recurring" if recurring else "one_time",
        unit_amount=cents,
        unit_amount_decimal=str(cents),
    )
