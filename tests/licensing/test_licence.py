"""A model with a licence runs while the operator's statement is valid and nobody forbade it."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from factories import team
from racing import race
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from inference import models
from licensing import licence, licence_terms, model_switches
from licensing.db import Database, now
from licensing.errors import Conflict
from licensing.licence import AttestationRequired, ModelRevoked

KREA = "krea-2-turbo"


def attest(database: Database, at: datetime | None = None) -> licence.Attestation:
    with database.transaction() as session:
        return licence.attest(session, "below_threshold", given_by="Olga", author_id=None, at=at)


def may_run(database: Database, model_id: str = KREA, at: datetime | None = None) -> bool:
    with database.read() as session:
        return licence.problem(session, model_id, at=at) is None


def test_every_model_that_is_not_ours_needs_a_statement() -> None:
    bound = {model.id for model in models.CATALOGUE if not licence_terms.is_free(model.id)}
    assert bound == {model.id for model in models.CATALOGUE if model.licence != "Apache-2.0"}
    assert not licence_terms.is_free("some-model-that-nobody-thought-of")


def test_without_a_statement_the_refusal_says_what_to_do(database: Database) -> None:
    with database.read() as session:
        with pytest.raises(AttestationRequired, match="`atelier attest`") as refusal:
            licence.require_valid(session, KREA)
        licence.require_valid(session, "pocket-turbo")
    assert "has not been made yet" in refusal.value.message


def test_a_statement_holds_for_a_year_to_the_moment(database: Database) -> None:
    given = datetime(2028, 2, 29, 12, tzinfo=UTC)
    made = attest(database, given)
    assert made.valid_until == datetime(2029, 2, 28, 12, tzinfo=UTC)
    assert may_run(database, at=made.valid_until - timedelta(microseconds=1))
    assert not may_run(database, at=made.valid_until)
    with database.read() as session:
        assert not licence.standing(session, at=given + timedelta(days=300)).is_due_soon
        assert licence.standing(session, at=given + timedelta(days=340)).is_due_soon
        late = licence.standing(session, at=given + timedelta(days=400))
    assert "ran out on 28 February 2029" in late.sentence


def test_a_statement_taken_back_stops_at_once_and_can_be_made_anew(database: Database) -> None:
    attest(database)
    with database.transaction() as session:
        licence.withdraw(session, given_by="Olga", author_id=None, reason="We grew")
    with database.read() as session, pytest.raises(AttestationRequired, match="We grew"):
        licence.require_valid(session, KREA)
    attest(database)
    assert may_run(database)
    with database.read() as session:
        kinds = [each.kind for each in licence.attestations(session, limit=9)]
    assert kinds == ["below_threshold", "withdrawn", "below_threshold"]


def test_what_was_not_shown_is_not_stated(database: Database) -> None:
    with database.transaction() as session:
        for kind, more, words in (
            ("below_threshold", {"statement_sha256": "0" * 64}, "has changed"),
            ("enterprise_licence", {"reference": " "}, "number or the date"),
            ("below_threshold", {"given_by": " "}, "name of the person"),
        ):
            with pytest.raises(Conflict, match=words):
                licence.attest(session, kind, **{"given_by": "Olga", "author_id": None, **more})
        licence.attest(
            session, "enterprise_licence", given_by="Olga", author_id=None, reference="K2-77"
        )
    assert may_run(database)


def test_only_an_owner_of_the_first_organisation_speaks_for_the_operator(
    database: Database,
) -> None:
    first, second = team(database), team(database)
    with database.read() as session:
        assert licence.may_attest(session, first.owner)
        for member in (first.admin, first.finance, second.owner):
            assert not licence.may_attest(session, member)


def test_a_switched_off_model_is_closed_with_its_reason(database: Database) -> None:
    attest(database)
    with database.transaction() as session:
        model_switches.switch(session, KREA, "revoked", reason="Recalled", given_by="Olga")
        with pytest.raises(ModelRevoked, match=r"Recalled\. Choose another model"):
            licence.require_valid(session, KREA)
        licence.require_valid(session, "krea-2-raw")
        model_switches.switch(session, KREA, "deleted", reason="Deleted: x", given_by="Olga")
        assert set(model_switches.revoked(session)) == {KREA}, "deleting files is no switch"
        model_switches.switch(session, KREA, "restored", reason="Cleared", given_by="Olga")
        licence.require_valid(session, KREA)
        assert model_switches.revoked(session) == {}


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501, "a\0b"])
def test_a_switch_needs_a_reason_that_people_can_read(database: Database, reason: str) -> None:
    with database.transaction() as session, pytest.raises(Conflict, match="Say why"):
        model_switches.switch(session, KREA, "revoked", reason=reason, given_by="Olga")


def test_of_two_who_switch_at_once_one_is_told(database: Database) -> None:
    def revoke(_: int) -> bool:
        try:
            with database.transaction() as session:
                model_switches.switch(session, KREA, "revoked", reason="Why", given_by="Olga")
        except Conflict:
            return False
        return True

    assert sum(race([partial(revoke, n) for n in range(8)])) == 1


def test_the_records_cannot_be_rewritten(database: Database) -> None:
    attest(database)
    with database.transaction() as session:
        model_switches.switch(session, KREA, "revoked", reason="Why", given_by="Olga")
    for statement in (
        "UPDATE attestation SET given_by = 'x'",
        "DELETE FROM attestation",
        "TRUNCATE attestation",
        "UPDATE model_switch SET action = 'restored'",
        "DELETE FROM model_switch",
        "TRUNCATE model_switch",
    ):
        with (
            pytest.raises(IntegrityError, match="append-only"),
            database.transaction() as session,
        ):
            session.execute(text(statement))


def test_a_clock_that_is_wrong_by_years_opens_nothing_for_ever(database: Database) -> None:
    attest(database, now() - timedelta(days=800))
    assert not may_run(database)
    attest(database, now() + timedelta(days=5000))
    assert not may_run(database), "the clock was set right since"
    assert not may_run(database, at=datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC))
