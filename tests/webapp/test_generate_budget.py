"""Submitting against a budget, as pages and the API do it."""

import functools
from contextlib import ExitStack

import pytest
from atelier_at_work import Work, agree, open_work
from factories import member
from racing import race
from sqlalchemy import func, select

from inference.generations import Generation
from inference.request import InvalidRequest
from licensing import api_keys, budget_limits, budgets, seats, teams
from licensing.audit import audit
from licensing.budgets import BudgetExceeded, Scope
from licensing.errors import Conflict
from licensing.seats import Member
from webapp import generate

PICTURE_MICROS = 15_000


@pytest.fixture
def work(stack: ExitStack, environ: dict[str, str]) -> Work:
    return open_work(stack, environ)


def admin(work: Work) -> Member:
    return work.running.member("demo-admin")


def limit(work: Work, scope: Scope, subject_id: object, pictures: int) -> None:
    with work.running.database.transaction() as session:
        budget_limits.set_budget(
            session,
            admin(work),
            scope=scope,
            subject_id=subject_id,  # type: ignore[arg-type]
            period="day",
            limit_micros=pictures * PICTURE_MICROS,
        )


def try_submit(work: Work, **fields: object) -> Generation | None:
    try:
        return work.submit(**fields)
    except BudgetExceeded:
        return None


def held_pictures(work: Work) -> int:
    with work.running.database.read() as session:
        assert audit(session) == []
        images = session.scalar(select(func.sum(Generation.images)))
    assert work.balance().held_micros == int(images or 0) * PICTURE_MICROS
    return int(images or 0)


def test_sixty_submits_of_one_member_on_a_budget_for_ten_pictures(work: Work) -> None:
    limit(work, "member", work.member.id, 10)
    made = race([functools.partial(try_submit, work, images=2)] * 60)
    assert sum(job is not None for job in made) == 5
    assert held_pictures(work) == 10


def test_sixty_submits_of_one_team_on_a_budget_for_ten_pictures(work: Work) -> None:
    owner = admin(work)
    with work.running.database.transaction() as session:
        organisation = seats.get_organisation(session, owner.organisation_id)
        assert organisation is not None
        brand = teams.create(session, owner, name="Brand")
        crowd = [member(session, organisation) for _ in range(10)]
        for person in crowd:
            teams.add(session, owner, brand.id, person.id)
            teams.set_paying_team(session, owner, person.id, brand.id)
    for person in crowd:
        agree(work, person)
    limit(work, "team", brand.id, 10)
    jobs = [functools.partial(try_submit, Work(work.running, one)) for one in crowd * 6]
    made = [job for job in race(jobs) if job is not None]
    assert len(made) == 10
    assert {job.team_id for job in made} == {brand.id}
    assert held_pictures(work) == 10


def test_a_key_with_a_budget_stops_while_its_member_goes_on(work: Work) -> None:
    with work.running.database.transaction() as session:
        key, _ = api_keys.create(session, work.member, name="nightly")
    limit(work, "api_key", key.id, 3)
    fields = {"prompt": "a red apple", "model": "pocket-turbo", "width": 128, "height": 128}

    def by_key(number: int) -> Generation | str:
        try:
            return generate.submit(
                work.running.studio, work.member, fields, f"n{number}", api_key_id=key.id
            )
        except BudgetExceeded as error:
            return error.message

    answers = race([functools.partial(by_key, number) for number in range(7)])
    made = [answer for answer in answers if isinstance(answer, Generation)]
    assert [job.api_key_id for job in made] == [key.id] * 3
    refusals = [answer for answer in answers if isinstance(answer, str)]
    assert all("budget of the API key “nightly” of $0.045 a day" in said for said in refusals)
    assert work.submit().api_key_id is None
    assert held_pictures(work) == 4


def test_a_refused_submit_leaves_nothing_behind(work: Work) -> None:
    limit(work, "organisation_default", None, 1)
    with pytest.raises(BudgetExceeded, match="left of your budget"):
        work.submit(images=2)
    assert held_pictures(work) == 0
    first = work.submit(key="one")
    assert work.submit(key="one").id == first.id, "the same key again costs no budget"
    with pytest.raises(BudgetExceeded, match="used up"):
        work.submit()
    assert held_pictures(work) == 1
    with work.running.database.read() as session:
        (standing,) = budgets.budgets_of(session, member_id=work.member.id)
    assert (standing.left_micros, standing.held_micros) == (0, PICTURE_MICROS)


def test_a_job_keeps_its_project_and_its_class(work: Work) -> None:
    job = work.submit(project=" Autumn \t 2026  ", key="one")
    assert (job.project, job.price_class) == ("Autumn 2026", "turbo")
    with pytest.raises(Conflict):
        work.submit(project="Winter", key="one")
    assert work.submit(project="").project is None


@pytest.mark.parametrize("tag", ["x" * 65, "a\u200bb", "a\x00b", "\ud800", "\u2060", 7])
def test_a_tag_that_no_bill_can_show_is_refused(work: Work, tag: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        work.submit(project=tag)
    assert refused.value.field == "project"
    assert held_pictures(work) == 0


@pytest.mark.parametrize("tag", ["日本語プロジェクト", "=SUM(A1)", "مشروع", "x" * 64, "e\u0301té"])
def test_a_tag_may_be_in_any_script(work: Work, tag: str) -> None:
    job = work.submit(project=tag)
    assert job.project == ("été" if tag.startswith("e") else tag)
