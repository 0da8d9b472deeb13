"""A proved domain lets its people in, with what its policy gives, and lets in nobody else."""

import uuid

import pytest
from factories import Team as People
from factories import identity, team
from sqlalchemy import update

from licensing import arrivals, domain_proofs, domains, invites, plans, roster, seats
from licensing.db import Database
from licensing.domains import Domain, InvalidDomain, SeatPolicy
from licensing.errors import Conflict, NotAllowed, NotFound
from licensing.seats import Identity, Member, Role

OTHER = "https://other.example"


def claim(database: Database, people: People, name: str = "nord.example") -> Domain:
    with database.transaction() as session:
        return domains.add(session, people.admin, domain=name)


def prove(database: Database, people: People, made: Domain) -> Domain | None:
    with database.transaction() as session:
        records = ["v=spf1 -all", f" {made.record_value} "]
        return domain_proofs.confirm(session, people.admin, made.id, records)


def proved(
    database: Database, people: People, policy: SeatPolicy, name: str = "nord.example"
) -> Domain:
    made = claim(database, people, name)
    assert prove(database, people, made) is not None
    with database.transaction() as session:
        return domains.set_policy(session, people.admin, made.id, policy)


def arrive(database: Database, who: Identity) -> Member:
    with database.transaction() as session:
        return arrivals.sign_in(session, who)


def test_the_record_proves_the_domain_and_nothing_else_does(database: Database) -> None:
    people = team(database)
    made = claim(database, people, " Nord.Example. ")
    assert (made.domain, made.record_name) == ("nord.example", "_atelier-challenge.nord.example")
    with database.transaction() as session:
        for found in ([], ["atelier-domain-verification="], [made.token]):
            assert domain_proofs.confirm(session, people.admin, made.id, found) is None
    with pytest.raises(NotAllowed, match="no organisation here knows you"):
        arrive(database, identity("Nina"))
    assert prove(database, people, made) is not None
    assert arrive(database, identity("Nina")).organisation_id == people.id


@pytest.mark.parametrize("policy", SeatPolicy)
def test_the_policy_says_what_the_next_people_get(database: Database, policy: SeatPolicy) -> None:
    people = team(database)
    proved(database, people, policy)
    joined = arrive(database, identity("Nina"))
    assert (joined.role, joined.seated) == (Role.CREATOR, policy == SeatPolicy.SEAT)
    waiting = [joined.id] if policy == SeatPolicy.ASK else []
    with database.read() as session:
        assert [each.id for each in seats.asking(session, people.id)] == waiting


def test_without_a_seat_left_they_come_in_and_wait_for_one(database: Database) -> None:
    people = team(database, seat_ceiling=3)
    proved(database, people, SeatPolicy.SEAT)
    joined = arrive(database, identity("Nina"))
    assert not joined.seated
    with database.transaction() as session:
        roster.revoke_seat(session, people.admin, people.creator.id)
        assert roster.assign_seat(session, people.admin, joined.id).seat_asked_at is None
        assert seats.asking(session, people.id) == []


def test_an_address_that_nobody_vouches_for_opens_nothing(database: Database) -> None:
    people = team(database)
    proved(database, people, SeatPolicy.SEAT)
    for who in (
        Identity("https://sso.example", "1", "eve@nord.example", False, "Eve"),
        identity(email="eve@sub.nord.example"),
        identity(email="eve@nord.example.evil.example"),
        identity(email="nord.example@evil.example"),
    ):
        with pytest.raises(NotAllowed):
            arrive(database, who)


def test_who_was_removed_does_not_walk_back_in(database: Database) -> None:
    people = team(database)
    proved(database, people, SeatPolicy.SEAT)
    who = identity("Nina")
    joined = arrive(database, who)
    with database.transaction() as session:
        roster.remove(session, people.admin, joined.id)
    twin = Identity(OTHER, "another account", who.email, True, "Nina")
    for again in (who, twin):
        with pytest.raises(NotAllowed, match="You were removed"):
            arrive(database, again)
    with database.transaction() as session:
        invites.invite(session, people.admin, email=who.email, role=Role.CREATOR, seated=True)
    assert arrive(database, who).id == joined.id, "an admin asked them back"


def test_an_invite_goes_before_the_domain(database: Database) -> None:
    people = team(database)
    proved(database, people, SeatPolicy.NO_SEAT)
    with database.transaction() as session:
        invites.invite(session, people.admin, email="n@nord.example", role=Role.ADMIN, seated=True)
    joined = arrive(database, identity(email="n@nord.example"))
    assert (joined.role, joined.seated) == (Role.ADMIN, True)


def test_an_invite_from_elsewhere_does_not_draw_people_of_a_domain_away(database: Database) -> None:
    people, poachers = team(database), team(database)
    proved(database, people, SeatPolicy.NO_SEAT)
    with database.transaction() as session:
        for name in ("n", "guest"):
            email = f"{name}@nord.example"
            _, link = invites.invite(
                session, poachers.admin, email=email, role=Role.CREATOR, seated=True
            )
    joined = arrive(database, identity(email="n@nord.example"))
    assert (joined.organisation_id, joined.seated) == (people.id, False)
    with database.transaction() as session:
        guest = arrivals.accept_invite(session, link, identity(email="guest@nord.example"))
    assert guest.organisation_id == poachers.id, "who follows the link means it"


def test_one_organisation_has_a_domain_and_claims_do_not_block_it(database: Database) -> None:
    first, second = team(database), team(database)
    squatted, ours = claim(database, first), claim(database, second)
    assert prove(database, second, ours) is not None
    with pytest.raises(Conflict, match="Another organisation"):
        prove(database, first, squatted)
    assert arrive(database, identity("Nina")).organisation_id == second.id
    with database.transaction() as session:
        domains.remove(session, second.admin, ours.id)
    assert prove(database, first, squatted) is not None


def test_names_are_compared_in_one_spelling(database: Database) -> None:
    people = team(database)
    made = claim(database, people, "Bücher.example")
    assert made.domain == "xn--bcher-kva.example"
    with pytest.raises(Conflict):
        claim(database, people, "xn--bcher-kva.example")
    prove(database, people, made)
    assert arrive(database, identity(email="a@bücher.example")).organisation_id == people.id


@pytest.mark.parametrize(
    "name", ["", "localhost", "com", "a@b.example", "-a.example", "1.2.3.4", "a..b", "x" * 300]
)
def test_what_is_no_domain_is_refused(database: Database, name: str) -> None:
    people = team(database)
    with pytest.raises(InvalidDomain):
        claim(database, people, name)


def test_strangers_reach_no_domain(database: Database) -> None:
    people, strangers = team(database), team(database)
    made = claim(database, people)
    with database.transaction() as session:
        for act in (
            lambda: domain_proofs.confirm(session, strangers.admin, made.id, [made.record_value]),
            lambda: domains.remove(session, strangers.admin, made.id),
            lambda: domains.set_policy(session, strangers.admin, made.id, SeatPolicy.SEAT),
            lambda: domains.remove(session, people.admin, uuid.uuid4()),
        ):
            with pytest.raises(NotFound):
                act()
        with pytest.raises(NotAllowed):
            domains.add(session, people.creator, domain="x.example")


def test_a_required_provider_shuts_the_others(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        plans.change_tier(session, people.id, "enterprise", ceiling=60)
        elsewhere = seats.add_member(
            session,
            people.id,
            Identity(OTHER, "7", "old@nord.example", True, "Old"),
            role=Role.CREATOR,
            seated=False,
        )
    made = proved(database, people, SeatPolicy.SEAT)
    with database.transaction() as session:
        with pytest.raises(NotAllowed, match="Only an owner"):
            domains.require_issuer(session, people.admin, made.id, people.owner.issuer)
        with pytest.raises(Conflict, match="locked out"):
            domains.require_issuer(session, people.owner, made.id, OTHER)
        domains.require_issuer(session, people.owner, made.id, people.owner.issuer)
    for address in ("old@nord.example", "new@elsewhere.example"):
        with pytest.raises(NotAllowed, match="through another provider"):
            arrive(database, Identity(OTHER, "7", address, True, "Old"))
    with pytest.raises(NotAllowed, match="through another provider"):
        arrive(database, Identity(OTHER, "8", "fresh@nord.example", True, "Fresh"))
    assert arrive(database, identity("Nina")).seated
    with database.transaction() as session:
        session.execute(update(seats.Organisation).values(tier="business", seat_ceiling=50))
    who = Identity(OTHER, "7", "old@nord.example", True, "Old")
    assert arrive(database, who).id == elsewhere.id, "the smaller plan does not enforce it"
