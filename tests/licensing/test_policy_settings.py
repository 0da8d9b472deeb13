"""What an organisation made stricter decides how its prompts are judged, and is never rewritten."""

import pytest
from factories import team
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from licensing import policy, prompt_rules
from licensing.db import Database
from licensing.errors import NotAllowed
from licensing.moderation import check_prompt


def test_a_stricter_category_reaches_what_is_allowed_elsewhere(database: Database) -> None:
    people, others = team(database), team(database)
    with database.transaction() as session:
        policy.tighten(session, people.owner, "sexual", "block", reason="For schools.")
        policy.tighten(session, people.owner, "graphic_violence", "block", reason="For schools.")
    with database.read() as session:
        strict = policy.tightened(session, people.id)
        assert policy.tightened(session, others.id) == {}
    lingerie = "a woman in lingerie"
    assert (check_prompt(lingerie).action, check_prompt(lingerie).category) == ("allow", "sexual")
    verdict = check_prompt(lingerie, strict)
    assert (verdict.action, verdict.rule) == ("block", "sexual-suggestive")
    assert verdict.message
    assert check_prompt("Judith beheading Holofernes, Caravaggio").action == "allow"
    assert check_prompt("Judith beheading Holofernes, Caravaggio", strict).action == "block"
    assert check_prompt("a cat in a hat", strict).category is None


def test_a_setting_cannot_loosen_even_if_a_row_says_so() -> None:
    assert check_prompt("nude child", {"minors_sexual": "label"}).action == "block"
    assert check_prompt("explicit porn scene", {"sexual": "review"}).action == "block"


def test_only_admins_tighten(database: Database) -> None:
    people = team(database)
    with pytest.raises(NotAllowed), database.transaction() as session:
        policy.tighten(session, people.creator, "hate", "block", reason="I say so.")


def test_the_history_stays(database: Database) -> None:
    people = team(database)
    with database.transaction() as session:
        policy.tighten(session, people.owner, "hate", "block", reason="One.")
        policy.tighten(session, people.owner, "hate", "review", reason="Two.")
    with database.read() as session:
        assert [row.reason for row in policy.history(session, people.id, limit=9)] == [
            "Two.",
            "One.",
        ]
        hate = next(s for s in policy.standings(session, people.id) if s.category.id == "hate")
        assert (hate.action, hate.is_tightened) == ("review", False)
    with pytest.raises(IntegrityError, match="append-only"), database.transaction() as session:
        session.execute(text("UPDATE policy_setting SET action = 'label'"))


def test_every_category_has_a_name_a_sentence_and_a_floor() -> None:
    categories = prompt_rules.load().categories
    assert {categories[never].floor for never in ("minors_sexual", "ncii")} == {"block"}
    assert all(category.name and category.message for category in categories.values())
    assert all(category.tighten for category in categories.values() if category.floor != "block"), (
        "an admin must be told what a stricter setting reaches"
    )
