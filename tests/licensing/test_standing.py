"""Why somebody cannot generate: all reasons at once, each with who can take it away."""

from factories import member, team

from licensing import (
    agreements,
    budget_limits,
    ledger,
    licence,
    model_switches,
    plans,
    roster,
    seats,
    standing,
)
from licensing.db import Database, now
from licensing.seats import Member

KREA = "krea-2-turbo"


def reasons(database: Database, who: Member, model_id: str | None = None) -> list[tuple[str, str]]:
    with database.read() as session:
        found = standing.why_not(session, who, model_id=model_id)
    assert all(reason.sentence.endswith(".") for reason in found)
    return [(reason.code, reason.who_can_fix) for reason in found]


def test_each_reason_is_named_until_it_is_gone(database: Database) -> None:
    people = team(database, balance_micros=0)
    with database.transaction() as session:
        roster.revoke_seat(session, people.admin, people.creator.id)
        model_switches.switch(session, KREA, "revoked", reason="Recalled", given_by="Olga")
    assert reasons(database, people.creator, KREA) == [
        ("no_seat", "admin"),
        ("model_revoked", "operator"),
        ("agreement_required", "you"),
        ("insufficient_balance", "finance"),
    ]
    with database.transaction() as session:
        roster.assign_seat(session, people.admin, people.creator.id)
        model_switches.switch(session, KREA, "restored", reason="Cleared", given_by="Olga")
        agreements.accept(session, people.creator.id, agreements.current(), now())
        ledger.top_up(session, people.id, 10**6, key="k", author_id=None, note="n")
    assert reasons(database, people.creator, KREA) == [("attestation_required", "operator")]
    with database.transaction() as session:
        licence.attest(session, "below_threshold", given_by="Olga", author_id=None)
    assert reasons(database, people.creator, KREA) == []


def test_suspension_freezing_and_a_spent_budget(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        agreements.accept(session, people.creator.id, agreements.current(), now())
        ledger.freeze(session, people.id, "A payment is disputed.", author_id=None)
        budget_limits.set_budget(
            session,
            people.admin,
            scope="member",
            subject_id=people.creator.id,
            period="day",
            limit_micros=0,
        )
    assert reasons(database, people.creator) == [
        ("budget_exceeded", "admin"),
        ("wallet_frozen", "finance"),
    ]
    with database.transaction() as session:
        roster.suspend(session, people.admin, people.creator.id)
    assert reasons(database, people.creator)[0] == ("suspended", "admin")


def test_a_member_who_can_generate_has_no_reason(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        fresh = member(session, people.organisation)
        agreements.accept(session, fresh.id, agreements.current(), now())
        assert plans.read(session, people.id).seats.left == 46
    assert reasons(database, fresh, "pocket-turbo") == []
    with database.read() as session:
        assert seats.get_member(session, fresh.id) is not None
