"""The learned prompt filter in the worker: refused, doubted, or missing, with the real rest."""

from pathlib import Path

from jobs import TOP_UP_MICROS, Desk
from sqlalchemy import select

from inference.generations import Generation
from inference.job import generate
from inference.process import WorkerProcess
from licensing import policy
from licensing.moderation import Verdict

PRICE_MICROS = 15_000


def files(process: WorkerProcess) -> list[Path]:
    return sorted(process.storage.root.rglob("*.*"))


def verdicts(desk: Desk, generation: Generation, subject: str) -> list[Verdict]:
    with desk.database.read() as session:
        query = select(Verdict).where(
            Verdict.generation_id == generation.id, Verdict.subject == subject
        )
        return list(session.scalars(query))


def test_a_refused_prompt_costs_nothing_and_says_why(desk: Desk, process: WorkerProcess) -> None:
    generation = desk.queue("stop this", images=2)
    generate(process, generation.id)
    row = desk.read(generation.id)
    assert (row.state, row.error_code) == ("refused", "prompt_refused")
    assert (
        row.error_message == "This prompt attacks people for who they are. That is not made here."
    )
    assert desk.balance().available_micros == TOP_UP_MICROS
    assert row.steps_done == 0, "the device never heard of it"
    assert files(process) == []
    (verdict,) = verdicts(desk, generation, "prompt")
    assert (verdict.action, verdict.category, verdict.score) == ("block", "hate", 0.98)
    assert (verdict.source, verdict.excerpt) == ("fake-classifier", "stop this")


def test_a_doubtful_prompt_is_made_and_seen_by_a_reviewer(
    desk: Desk, process: WorkerProcess
) -> None:
    generation = desk.queue("a doubt")
    generate(process, generation.id)
    assert desk.read(generation.id).state == "finished"
    assert desk.balance().settled_micros == TOP_UP_MICROS - PRICE_MICROS
    (verdict,) = verdicts(desk, generation, "prompt")
    assert (verdict.action, verdict.category) == ("review", "harassment")


def test_a_stricter_organisation_refuses_what_others_let_a_reviewer_see(
    desk: Desk, process: WorkerProcess
) -> None:
    with desk.database.transaction() as session:
        policy.tighten(session, desk.team.owner, "harassment", "block", reason="Our house rules.")
    generation = desk.queue("a doubt")
    generate(process, generation.id)
    assert desk.read(generation.id).state == "refused"
    assert desk.balance().available_micros == TOP_UP_MICROS
    (verdict,) = verdicts(desk, generation, "prompt")
    assert verdict.action == "block"


def test_without_its_prompt_filter_nothing_is_made(desk: Desk, process: WorkerProcess) -> None:
    generation = desk.queue("unread")
    generate(process, generation.id)
    row = desk.read(generation.id)
    assert (row.state, row.error_code, row.steps_done) == ("failed", "filter_unavailable", 0)
    assert desk.balance().available_micros == TOP_UP_MICROS
    assert files(process) == []
