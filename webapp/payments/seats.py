"""Buying seats: the subscription at the provider, with a preview before anything is charged.

More seats count at once, and the rest of the period is billed at once; a card that is declined
changes nothing. Fewer count from the next period on, and never below what is taken. The studio's
own ceiling follows the provider's messages (`licensing.payments.subscriptions`), never these calls.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from licensing import plans, tiers
from licensing import seats as licensed
from licensing.db import now
from licensing.errors import Conflict
from licensing.money import cents_to_micros
from licensing.payments import schedules, subscriptions
from licensing.payments.bill_tables import SeatSubscription
from licensing.payments.payloads import TIER_KEY
from licensing.seats import Member
from webapp.payments import payers, provider
from webapp.studio import Studio

PREVIEW_SECONDS_MAX = 600  # a price that was shown is charged for this long
BOUGHT = "/team?seats=1#seats"
NOT_BOUGHT = "/team?seats=0#seats"


@dataclass(frozen=True)
class SeatPreview:
    """What a change of seats costs, and when it counts. Amounts are before tax, as billed."""

    tier: str
    seats_before: int
    seats_after: int
    when: Literal["now", "period_end"]
    effective_at: datetime
    due_now_micros: int
    next_invoice_micros: int
    next_invoice_at: datetime
    proration_at: int


def subscribe(studio: Studio, member: Member, *, tier: str, seats: int) -> str:
    """Return the address of the provider's page on which a first subscription is paid.

    Raises `Conflict` where there is one already, for fewer seats than are taken, and for more than
    the plan has; `NotFound` for a plan that is not sold.
    """
    price = _price(studio, tier)
    with studio.database.read() as session:
        payer = payers.require_payer(session, member)
        if subscriptions.live(session, payer.organisation_id) is not None:
            raise Conflict("There is a seat subscription already: change its number of seats.")
        _require_fits(tiers.find(tier), seats, licensed.seat_usage(session, payer.organisation_id))
    customer_id = payers.customer(studio, member.organisation_id)
    own = payers.metadata(TIER_KEY, tier, member.organisation_id)
    order: Any = {
        "mode": "subscription",
        "customer": customer_id,
        "line_items": [{"price": price, "quantity": seats}],
        "metadata": own,
        "subscription_data": {"metadata": own},
        "success_url": f"{studio.settings.url}{BOUGHT}",
        "cancel_url": f"{studio.settings.url}{NOT_BOUGHT}",
    }
    client = provider.connect(studio).v1.checkout.sessions
    with provider.answers():
        # A page that is still open in another window would be a second subscription.
        for earlier in client.list({"customer": customer_id, "status": "open"}).data:
            if earlier.mode == "subscription":
                client.expire(earlier.id)
        page = client.create(order)
    if not page.url:
        raise provider.ProviderAway
    return page.url


def preview_seats(
    studio: Studio, member: Member, *, seats: int, tier: str | None = None
) -> SeatPreview:
    """Say what another number of seats (or another plan) would cost, and when it would count."""
    current = _checked(studio, member, seats, tier)
    return _preview(studio, current, seats, tier or current.tier)


def change_seats(
    studio: Studio,
    member: Member,
    *,
    seats: int,
    tier: str | None = None,
    proration_at: int | None = None,
) -> SeatPreview:
    """Order what was previewed; `proration_at` is the preview's, so that its price is charged.

    Raises `Conflict` as `preview_seats`, and `PaymentDeclined`: then nothing has changed.
    """
    current = _checked(studio, member, seats, tier)
    preview = _preview(studio, current, seats, tier or current.tier)
    if proration_at is not None:
        if not 0 <= preview.proration_at - proration_at <= PREVIEW_SECONDS_MAX:
            raise Conflict("This preview is too old. Look at the price again.")
        preview = replace(preview, proration_at=proration_at)
    if preview.when == "now":
        _more(studio, current, preview)
    else:
        _fewer(studio, current, preview)
    return preview


def keep_seats(studio: Studio, member: Member) -> bool:
    """Take a reduction back that has not come yet; False if there is none."""
    with studio.database.read() as session:
        payer = payers.require_payer(session, member)
        current = subscriptions.require_live(session, payer.organisation_id)
    if current.schedule_id is None:
        return False
    with provider.answers():
        provider.connect(studio).v1.subscription_schedules.release(current.schedule_id)
    read_again(studio, current.subscription_id)
    return True


def read_again(studio: Studio, subscription_id: str) -> None:
    """Ask the provider how a subscription stands, and take that."""
    at = now()  # before the question: whatever is told from now on is newer
    expand: Any = {"expand": ["schedule"]}
    with provider.answers():
        answer = provider.connect(studio).v1.subscriptions.retrieve(subscription_id, expand)
    plain = dict(provider.plain(answer))
    schedule = plain.get("schedule")
    with studio.database.transaction() as session:
        subscriptions.read(session, plain, at.replace(microsecond=0))
        if isinstance(schedule, dict):
            schedules.write(subscriptions.find(session, subscription_id), schedule)


def _checked(studio: Studio, member: Member, seats: int, tier: str | None) -> SeatSubscription:
    """Return the subscription if the change is one that may be ordered."""
    provider.settings_of(studio)
    with studio.database.read() as session:
        payer = payers.require_payer(session, member)
        current = subscriptions.require_live(session, payer.organisation_id)
        usage = licensed.seat_usage(session, payer.organisation_id)
        _require_fits(tiers.find(tier or current.tier), seats, usage)
    if current.status not in subscriptions.PAYING:
        raise Conflict("The seats are not paid for yet. Pay the open invoice first.")
    if current.is_ending:
        raise Conflict("The subscription ends with its period; it has to be renewed first.")
    if tier is not None and tier != current.tier and seats < current.quantity:
        raise Conflict("Change the plan first, then the number of seats.")
    if seats == current.quantity and (tier is None or tier == current.tier):
        raise Conflict(f"{seats} seats are what is paid for now.")
    return current


def _require_fits(tier: tiers.Tier, seats: int, usage: licensed.SeatUsage) -> None:
    if not 0 < seats <= plans.SEATS_BOUGHT_MAX:
        raise Conflict(f"Buy from 1 to {plans.SEATS_BOUGHT_MAX:,} seats (not {seats}).")
    if not tier.allows(seats):
        raise Conflict(f"The {tier.name} plan ends at {tier.seats_max} seats (not {seats}).")
    if seats < usage.taken:
        raise Conflict(
            f"{usage.taken} seats are taken ({usage.assigned} assigned, {usage.pending} held by "
            f"pending invites), so {seats} are too few. Revoke {usage.taken - seats} first; "
            "revoking alone does not lower what you pay."
        )


def _preview(studio: Studio, current: SeatSubscription, seats: int, tier: str) -> SeatPreview:
    is_now = seats > current.quantity or tier != current.tier
    price = _price(studio, tier) if tier != current.tier else current.price_id
    customer_id = payers.customer(studio, current.organisation_id)
    item: dict[str, Any] = {"id": current.item_id, "price": price, "quantity": seats}
    details: dict[str, Any] = {"items": [item], "proration_behavior": "none"}
    if is_now:
        details["proration_behavior"] = "always_invoice"
    question: Any = {
        "customer": customer_id,
        "subscription": current.subscription_id,
        "subscription_details": details,
    }
    client = provider.connect(studio)
    with provider.answers():
        answer = provider.plain(client.v1.invoices.create_preview(question))
        unit = client.v1.prices.retrieve(price).unit_amount or 0
    asked_at = int(answer["created"])  # by the provider's clock, which counts the rest of a period
    return SeatPreview(
        tier=tier,
        seats_before=current.quantity,
        seats_after=seats,
        when="now" if is_now else "period_end",
        effective_at=datetime.fromtimestamp(asked_at, UTC) if is_now else current.period_end,
        due_now_micros=cents_to_micros(answer["total"]) if is_now else 0,
        next_invoice_micros=cents_to_micros(unit * seats),
        next_invoice_at=current.period_end,
        proration_at=asked_at,
    )


def _more(studio: Studio, current: SeatSubscription, preview: SeatPreview) -> None:
    """More seats, or another plan: at once, paid at once, or not at all."""
    client = provider.connect(studio)
    key = f"seats:{current.subscription_id}:{preview.seats_before}:{preview.seats_after}"
    price = current.price_id if preview.tier == current.tier else _price(studio, preview.tier)
    item: dict[str, Any] = {
        "id": current.item_id,
        "price": price,
        "quantity": preview.seats_after,
    }
    order: Any = {
        "items": [item],
        "proration_behavior": "always_invoice",
        "proration_date": preview.proration_at,
        "payment_behavior": "error_if_incomplete",
        "metadata": payers.metadata(TIER_KEY, preview.tier, current.organisation_id),
    }
    with provider.answers():
        if current.schedule_id is not None:  # a reduction that was planned gives way
            client.v1.subscription_schedules.release(current.schedule_id)
        client.v1.subscriptions.update(
            current.subscription_id,
            order,
            {"idempotency_key": f"{key}:{preview.tier}:{preview.proration_at}"},
        )
    read_again(studio, current.subscription_id)


def _fewer(studio: Studio, current: SeatSubscription, preview: SeatPreview) -> None:
    """Fewer seats from the next period on, by a schedule that then lets the subscription go."""
    client = provider.connect(studio)
    with provider.answers():
        schedule_id = current.schedule_id
        if schedule_id is None:
            begun: Any = {"from_subscription": current.subscription_id}
            schedule_id = client.v1.subscription_schedules.create(begun).id
        schedule = provider.plain(client.v1.subscription_schedules.retrieve(schedule_id))
        phase = schedule["current_phase"]
        order: Any = {
            "end_behavior": "release",
            "proration_behavior": "none",
            "phases": [
                {
                    "start_date": phase["start_date"],
                    "end_date": phase["end_date"],
                    "items": [{"price": current.price_id, "quantity": current.quantity}],
                },
                {
                    "start_date": phase["end_date"],
                    "duration": {"interval": "month", "interval_count": 1},
                    "items": [{"price": current.price_id, "quantity": preview.seats_after}],
                },
            ],
        }
        client.v1.subscription_schedules.update(schedule_id, order)
    read_again(studio, current.subscription_id)


def _price(studio: Studio, tier: str) -> str:
    price = provider.settings_of(studio).seat_prices.get(tier)
    if price is None:
        raise Conflict(f"The {tiers.find(tier).name} plan is not sold here; ask the operator.")
    return price
