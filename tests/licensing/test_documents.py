"""An organisation's own documents: versions word for word, asked for until accepted."""

from datetime import timedelta
from typing import Any

import pytest
from factories import Team as People
from factories import team
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from licensing import agreements, documents, plans
from licensing.agreements import AgreementRequired
from licensing.db import Database, now
from licensing.documents import DocumentOverdue, OrganisationDocument
from licensing.errors import Conflict, NotAllowed, NotFound
from licensing.seats import Member
from licensing.tiers import TierRequired


def enterprise(database: Database) -> People:
    people = team(database)
    with database.transaction() as session:
        plans.change_tier(session, people.id, "enterprise", ceiling=60)
        for member in (people.owner, people.creator, people.admin):
            agreements.accept(session, member.id, agreements.current(), now())
    return people


def publish(database: Database, people: People, **changes: Any) -> OrganisationDocument:
    values: dict[str, Any] = {
        "kind": "dpa",
        "version": "1",
        "title": "Data processing",
        "text": "# Data processing\n\nWe process as you say.",
        "audience": "owner",
        "given_by": "Operator",
    }
    with database.transaction() as session:
        return documents.publish(session, people.id, **{**values, **changes})


def asked(database: Database, member: Member) -> list[str]:
    with database.read() as session:
        return [text.title for text in agreements.to_accept(session, member.id)]


def accept(database: Database, member: Member) -> None:
    with database.transaction() as session:
        texts = agreements.to_accept(session, member.id)
        agreements.accept(session, member.id, texts, now())


def test_an_owner_is_asked_for_the_organisation_and_nobody_else(database: Database) -> None:
    people = enterprise(database)
    made = publish(database, people)
    assert asked(database, people.owner) == ["Data processing"]
    assert asked(database, people.creator) == []
    with database.transaction() as session, pytest.raises(NotAllowed):
        documents.accept(session, people.creator, made.id, now())
    accept(database, people.owner)
    assert asked(database, people.owner) == []
    with database.read() as session:
        [(acceptance, who)] = documents.acceptances(session, made.id)
    assert (who.id, acceptance.text_sha256) == (people.owner.id, made.text_sha256)


def test_terms_are_for_everybody_and_a_new_version_asks_again(database: Database) -> None:
    people = enterprise(database)
    terms = {"kind": "custom-terms", "title": "House rules", "audience": "members"}
    publish(database, people, **terms)
    with database.read() as session, pytest.raises(AgreementRequired, match="House rules"):
        agreements.require_accepted(session, people.creator.id)
    accept(database, people.creator)
    with database.read() as session:
        agreements.require_accepted(session, people.creator.id)
    publish(database, people, **terms, version="2", text="Other words")
    assert asked(database, people.creator) == ["House rules"]
    accept(database, people.creator)
    publish(database, people, **{**terms, "audience": "withdrawn"}, version="3", text="")
    assert asked(database, people.admin) == [], "a withdrawn kind asks nobody"


def test_a_later_version_waits_for_its_day(database: Database) -> None:
    people = enterprise(database)
    publish(database, people)
    accept(database, people.owner)
    publish(database, people, version="2", effective_at=now() + timedelta(days=3))
    assert asked(database, people.owner) == []
    with database.read() as session:
        later = documents.in_force(session, people.owner, at=now() + timedelta(days=4))
    assert [each.document.version for each in later] == ["2"]


def test_past_its_day_an_open_document_stops_the_organisation(database: Database) -> None:
    people = enterprise(database)
    publish(
        database,
        people,
        effective_at=now() - timedelta(days=2),
        accept_by=now() - timedelta(days=1),
    )
    with database.read() as session, pytest.raises(DocumentOverdue, match="An owner can do it"):
        agreements.require_accepted(session, people.creator.id)
    accept(database, people.owner)
    with database.read() as session:
        agreements.require_accepted(session, people.creator.id)


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "  "},
        {"text": "x" * 200_001},
        {"text": "a\0b"},
        {"version": ""},
        {"title": "x" * 121},
        {"given_by": "\u202e"},
        {"accept_by": now() - timedelta(days=1)},
    ],
)
def test_what_cannot_be_kept_is_refused(database: Database, changes: dict[str, Any]) -> None:
    people = enterprise(database)
    with pytest.raises(Conflict):
        publish(database, people, **changes)


def test_a_version_is_written_once(database: Database) -> None:
    people = enterprise(database)
    publish(database, people)
    with pytest.raises(Conflict, match="never rewritten"):
        publish(database, people, text="Other words")
    for table in ("organisation_document", "document_acceptance"):
        accept(database, people.owner)
        for statement in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
            with (
                pytest.raises(IntegrityError, match="append-only"),
                database.transaction() as session,
            ):
                session.execute(text(statement))


def test_documents_are_an_enterprise_matter_and_stay_at_home(database: Database) -> None:
    business, people = team(database), enterprise(database)
    with pytest.raises(TierRequired, match="data processing agreement"):
        publish(database, business)
    made = publish(database, people)
    with database.transaction() as session, pytest.raises(NotFound):
        documents.accept(session, business.owner, made.id, now())
    assert asked(database, business.owner) == [each.title for each in agreements.current()]
