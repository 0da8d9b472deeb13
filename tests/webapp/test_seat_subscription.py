"""Buying seats at a running studio: the ceiling follows the provider's messages alone."""

from contextlib import ExitStack

import pytest
from paying import USD, Desk, open_desk
from sqlalchemy import select
from standin_at_work import OK

from licensing import seats
from licensing.db import now
from licensing.errors import Conflict, NotAllowed
from licensing.payments import invoice_lines, overview
from licensing.payments.bill_tables import SeatSubscription
from licensing.payments.figures import Subscription
from licensing.seats import Organisation, Role
from webapp import payments
from webapp.payments import PaymentDeclined


@pytest.fixture
def desk(stack: ExitStack, environ: dict[str, str]) -> Desk:
    return open_desk(stack, environ)


def subscribe(desk: Desk, count: int = 5) -> None:
    url = payments.subscribe(desk.studio, desk.team.owner, tier="business", seats=count)
    desk.standin.pay(url, OK)
    desk.deliver()


def ceiling(desk: Desk) -> int:
    with desk.database.read() as session:
        return session.scalars(
            select(Organisation.seat_ceiling).where(Organisation.id == desk.team.id)
        ).one()


def subscription(desk: Desk) -> Subscription:
    with desk.database.read() as session:
        found = overview(session, desk.team.id).subscription
    assert found is not None
    return found


def test_the_ceiling_follows_a_paid_subscription(desk: Desk) -> None:
    url = payments.subscribe(desk.studio, desk.team.owner, tier="business", seats=5)
    desk.standin.pay(url, OK)
    assert ceiling(desk) == 50
    desk.deliver(order="newest")
    payments.run_due(desk.studio)
    assert ceiling(desk) == 5
    assert subscription(desk).status == "active"
    with desk.database.read() as session:
        (line,) = invoice_lines(session, desk.team.id)
    assert (line.kind, line.state, line.amount_micros) == ("seats", "paid", 5 * 20 * USD)
    assert "failed" not in desk.statuses()


def test_more_seats_count_at_once_at_the_previewed_price(desk: Desk) -> None:
    subscribe(desk)
    preview = payments.preview_seats(desk.studio, desk.team.owner, seats=8)
    assert (preview.when, preview.seats_after) == ("now", 8)
    assert 0 < preview.due_now_micros <= 3 * 20 * USD
    assert preview.next_invoice_micros == 8 * 20 * USD
    payments.change_seats(desk.studio, desk.team.owner, seats=8, proration_at=preview.proration_at)
    desk.deliver()
    assert ceiling(desk) == 8
    with desk.database.read() as session:
        newest = invoice_lines(session, desk.team.id)[0]
    assert newest.amount_micros == preview.due_now_micros


def test_a_declined_card_changes_nothing(desk: Desk) -> None:
    subscribe(desk)
    desk.standin.control("/declines", reason="insufficient_funds")
    with pytest.raises(PaymentDeclined, match="insufficient"):
        payments.change_seats(desk.studio, desk.team.owner, seats=9)
    desk.deliver()
    assert (ceiling(desk), subscription(desk).quantity) == (5, 5)


def test_fewer_seats_count_from_the_next_period_on(desk: Desk) -> None:
    subscribe(desk, 6)
    preview = payments.preview_seats(desk.studio, desk.team.owner, seats=4)
    assert (preview.when, preview.due_now_micros) == ("period_end", 0)
    payments.change_seats(desk.studio, desk.team.owner, seats=4)
    desk.deliver()
    planned = subscription(desk)
    assert (planned.quantity, planned.pending_quantity) == (6, 4)
    assert planned.pending_at == planned.period_end
    assert ceiling(desk) == 6
    desk.standin.control("/advance", days=32)
    desk.deliver()
    payments.run_due(desk.studio)
    desk.deliver()
    assert (ceiling(desk), subscription(desk).pending_quantity) == (4, None)


def test_a_reduction_can_be_taken_back(desk: Desk) -> None:
    subscribe(desk, 6)
    payments.change_seats(desk.studio, desk.team.owner, seats=4)
    desk.deliver()
    assert payments.keep_seats(desk.studio, desk.team.owner)
    desk.deliver()
    assert subscription(desk).pending_quantity is None
    assert not payments.keep_seats(desk.studio, desk.team.owner)


def test_never_below_what_is_taken_and_never_above_the_plan(desk: Desk) -> None:
    with pytest.raises(Conflict, match="3 seats are taken"):
        payments.subscribe(desk.studio, desk.team.owner, tier="business", seats=2)
    subscribe(desk)
    with pytest.raises(Conflict, match="ends at 50"):
        payments.preview_seats(desk.studio, desk.team.owner, seats=51)
    with pytest.raises(Conflict, match="revoking alone"):
        payments.change_seats(desk.studio, desk.team.owner, seats=2)
    with pytest.raises(Conflict, match="already"):
        payments.subscribe(desk.studio, desk.team.owner, tier="business", seats=9)
    with pytest.raises(NotAllowed):
        payments.change_seats(desk.studio, desk.team.admin, seats=9)


def test_of_two_open_pages_one_can_be_paid(desk: Desk) -> None:
    payments.subscribe(desk.studio, desk.team.owner, tier="business", seats=5)
    second = payments.subscribe(desk.studio, desk.team.owner, tier="business", seats=7)
    pages = desk.standin.client.v1.checkout.sessions.list().data
    assert sorted(page.status or "" for page in pages) == ["expired", "open"]
    desk.standin.pay(second, OK)
    desk.deliver()
    assert ceiling(desk) == 7


def test_a_price_that_was_shown_long_ago_is_shown_again(desk: Desk) -> None:
    subscribe(desk)
    preview = payments.preview_seats(desk.studio, desk.team.owner, seats=8)
    with pytest.raises(Conflict, match="too old"):
        payments.change_seats(
            desk.studio, desk.team.owner, seats=8, proration_at=preview.proration_at - 3600
        )
    assert subscription(desk).quantity == 5


def test_people_who_came_meanwhile_keep_their_seats(desk: Desk) -> None:
    subscribe(desk, 4)
    payments.change_seats(desk.studio, desk.team.owner, seats=3)
    desk.deliver()
    with desk.database.transaction() as session:
        person = seats.Identity("https://sso.example", "new", "new@nord.example", True, "New")
        seats.add_member(session, desk.team.id, person, role=Role.CREATOR, seated=True)
    desk.standin.control("/advance", days=32)
    desk.deliver()
    payments.run_due(desk.studio)
    assert subscription(desk).quantity == 3
    assert ceiling(desk) == 4


def test_an_older_message_changes_nothing_and_is_asked_about(desk: Desk) -> None:
    subscribe(desk, 5)
    payments.change_seats(desk.studio, desk.team.owner, seats=7)
    payments.change_seats(desk.studio, desk.team.owner, seats=9)
    desk.deliver(order="newest")
    payments.run_due(desk.studio)
    assert (ceiling(desk), subscription(desk).quantity) == (9, 9)
    (row,) = desk.rows(SeatSubscription)
    assert not row.needs_reading
    assert row.period_end > now()


def test_a_larger_plan_comes_with_its_first_seats(desk: Desk) -> None:
    subscribe(desk)
    preview = payments.preview_seats(desk.studio, desk.team.owner, seats=60, tier="enterprise")
    assert (preview.when, preview.next_invoice_micros) == ("now", 60 * 40 * USD)
    payments.change_seats(
        desk.studio,
        desk.team.owner,
        seats=60,
        tier="enterprise",
        proration_at=preview.proration_at,
    )
    desk.deliver()
    with desk.database.read() as session:
        organisation = session.get_one(Organisation, desk.team.id)
    assert (organisation.tier, organisation.seat_ceiling) == ("enterprise", 60)
    assert "failed" not in desk.statuses()


def test_a_renewal_that_is_never_paid_ends_with_the_seats_that_are_taken(desk: Desk) -> None:
    subscribe(desk)
    desk.standin.control("/declines", reason="expired_card", times=4)
    desk.standin.control("/advance", days=32)
    desk.deliver()
    assert ceiling(desk) == 5
    with desk.database.read() as session:
        kinds = [notice.kind for notice in overview(session, desk.team.id).notices]
    assert kinds == ["seats_unpaid"]
    desk.standin.control("/advance", days=20)
    desk.deliver()
    payments.run_due(desk.studio)
    with desk.database.read() as session:
        assert overview(session, desk.team.id).subscription is None
    assert ceiling(desk) == 3
    subscribe(desk, 4)
    assert ceiling(desk) == 4
