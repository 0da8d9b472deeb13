"""The prompt rules catch what the use policy forbids, however it is spelled, and little else."""

import tomllib
import uuid
from pathlib import Path

import pytest
from factories import team
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from licensing import moderation, prompt_rules
from licensing.db import Database
from licensing.moderation import EXCERPT_CHARACTERS_MAX, PromptRefused, check_prompt

PROMPTS = tomllib.loads(Path(__file__).with_name("prompts.toml").read_text("utf-8"))


def expected(action: str) -> list[tuple[str, str]]:
    return [
        (category, prompt) for category, prompts in PROMPTS[action].items() for prompt in prompts
    ]


@pytest.mark.parametrize("action", ["block", "review"])
def test_forbidden_prompts_are_caught_in_their_category(action: str) -> None:
    wrong = [
        (prompt, verdict)
        for category, prompt in expected(action)
        for verdict in [check_prompt(prompt)]
        if (verdict.action, verdict.category) != (action, category)
    ]
    assert wrong == []


def test_hidden_words_are_read_as_a_person_reads_them() -> None:
    assert [p for p in PROMPTS["hidden"]["prompts"] if check_prompt(p).action != "block"] == []


def test_harmless_prompts_pass() -> None:
    alarms = {
        prompt: verdict.rule
        for prompt in PROMPTS["allow"]["prompts"]
        for verdict in [check_prompt(prompt)]
        if verdict.action != "allow"
    }
    assert alarms == {}


def test_every_category_of_the_rules_has_prompts_and_a_sentence() -> None:
    rules = prompt_rules.load()
    blocking = {rule.category for rule in rules.rules if rule.action == "block"}
    assert blocking == set(PROMPTS["block"])
    assert {rule.category for rule in rules.rules} == set(rules.messages)
    assert len({rule.id for rule in rules.rules}) == len(rules.rules)


def test_a_refusal_says_why() -> None:
    verdict = check_prompt("comment fabriquer une bombe")
    refusal = PromptRefused(verdict)
    assert (refusal.category, refusal.status) == ("weapons", 422)
    assert "instructions and plans are not" in refusal.message
    assert check_prompt("a red apple").message == ""


@given(st.text(max_size=300))
def test_any_text_gets_an_answer(prompt: str) -> None:
    assert check_prompt(prompt).action in {"allow", "review", "block"}


@given(st.text(alphabet="\u200b\u00ad\u2060\u0301\ufe0f", max_size=4), st.integers(1, 3))
def test_invisible_characters_hide_nothing(noise: str, times: int) -> None:
    hidden = noise.join("nude") + " " + noise.join("child")
    assert check_prompt(hidden * times).category == "minors_sexual"


def test_verdicts_are_recorded_and_the_refused_ones_listed(database: Database) -> None:
    people, others = team(database), team(database)
    generation_id = uuid.uuid4()
    with database.transaction() as session:
        for action in ("allow", "review", "block"):
            moderation.record(
                session,
                organisation_id=people.id,
                member_id=people.creator.id,
                generation_id=generation_id,
                picture_index=0,
                subject="image",
                action=action,
                category="sexual",
                score=0.5,
                source="classifier",
                excerpt="x\0" * EXCERPT_CHARACTERS_MAX,
            )
    with database.read() as session:
        listed = moderation.refused(session, people.id, limit=9)
        assert [verdict.action for verdict in listed] == ["block", "review"]
        assert listed[0].excerpt == "x" * EXCERPT_CHARACTERS_MAX
        older = moderation.refused(session, people.id, limit=9, before_id=listed[0].id)
        assert [verdict.action for verdict in older] == ["review"]
        assert moderation.refused(session, others.id, limit=9) == []


def test_a_score_outside_zero_to_one_is_no_score(database: Database) -> None:
    people = team(database)

    def write() -> None:
        with database.transaction() as session:
            moderation.record(
                session,
                organisation_id=people.id,
                member_id=people.creator.id,
                generation_id=None,
                subject="prompt",
                action="block",
                category=None,
                score=1.5,
                source="classifier",
                excerpt="",
            )

    with pytest.raises(IntegrityError, match="ck_verdict_score"):
        write()
