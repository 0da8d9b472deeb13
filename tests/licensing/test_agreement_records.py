"""Nobody generates before they accepted every text in force, word for word."""

from dataclasses import replace

import pytest
from factories import team
from sqlalchemy import select

from licensing import agreements
from licensing.agreements import Acceptance, AgreementRequired
from licensing.db import Database, now


def test_the_texts_in_force_name_the_licence_and_the_use_policy() -> None:
    licence, policy = agreements.current()
    assert (licence.kind, policy.kind) == ("licence", "use-policy")
    notice = (
        "Krea 2 is licensed under the Krea 2 Community License Agreement. "
        "For more information, visit <https://krea.ai/krea-2-licensing>."
    )
    assert notice in licence.text
    assert "https://www.krea.ai/krea-2-use-policy" in policy.text


def test_a_member_is_asked_until_both_are_accepted(database: Database) -> None:
    people = team(database)
    licence, policy = agreements.current()
    with database.transaction() as session:
        with pytest.raises(AgreementRequired) as refusal:
            agreements.require_accepted(session, people.creator.id)
        assert refusal.value.missing == (licence, policy)
        agreements.accept(session, people.creator.id, [licence], now())
        assert agreements.missing(session, people.creator.id) == (policy,)
        agreements.accept(session, people.creator.id, [policy], now())
        agreements.require_accepted(session, people.creator.id)
        assert agreements.missing(session, people.admin.id) == (licence, policy)


def test_the_first_acceptance_counts(database: Database) -> None:
    people = team(database)
    licence, _ = agreements.current()
    first = now()
    with database.transaction() as session:
        agreements.accept(session, people.creator.id, [licence], first)
        agreements.accept(session, people.creator.id, [licence], now())
        agreements.accept(session, people.creator.id, [], now())
        stored = session.scalars(select(Acceptance)).one()
    assert (stored.kind, stored.version, stored.accepted_at) == ("licence", "1", first)
    assert stored.text_sha256 == licence.text_sha256


def test_another_version_or_another_wording_is_not_what_is_in_force(database: Database) -> None:
    people = team(database)
    in_force = agreements.current()
    older = [replace(text, version="0") for text in in_force]
    reworded = [replace(text, text=text.text + " ") for text in in_force]
    with database.transaction() as session:
        agreements.accept(session, people.creator.id, older + reworded, now())
        assert agreements.missing(session, people.creator.id) == in_force
