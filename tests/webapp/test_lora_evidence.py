"""A LoRA whose grid showed sexual content with minors: locked, as a picture of it would be."""

from argparse import Namespace
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import httpx2
import pytest
from at_bench import Bench, decide, look, open_bench, open_cases, words
from at_loras import SHA, probe, stock, upload
from sqlalchemy import Executable, delete, select, text, update
from sqlalchemy.exc import IntegrityError

from inference import adapter_files, withdrawal
from inference.safety import ImageVerdict
from licensing import adapters, evidence
from licensing.adapters import Adapter
from licensing.cases import ReviewCase
from licensing.db import now
from licensing.errors import Conflict
from licensing.evidence import KEPT, AdapterLock
from webapp import account, bringing, departures, review_commands

MINORS = ImageVerdict("block", "minors_sexual", 0.99, "pdq:industry")
DOUBTED = ImageVerdict("review", "sexual", 0.6, "fake")


@pytest.fixture
def bench(stack: ExitStack, environ: dict[str, str]) -> Bench:
    bench = open_bench(stack, environ)
    stock(bench.work)
    return bench


def refused(bench: Bench) -> tuple[str, Path, ReviewCase]:
    """Bring a LoRA whose grid is refused; return its id, its grid and its case."""
    adapter_id = str(upload(bench.ask("creator")).json()["id"])
    grid = probe(bench.work, adapter_id, MINORS)
    (case,) = open_cases(bench.work, "adapter")
    return adapter_id, grid, case


def grant(bench: Bench) -> httpx2.Client:
    """Let the reviewer open locked evidence."""
    data = {"is_given": "true", "reason": "She was trained for it"}
    bench.ask("owner").post(f"/review/access/{bench.reviewer.id}", data=data)
    return bench.ask("reviewer")


def lock_of(bench: Bench, case: ReviewCase) -> AdapterLock | None:
    assert case.adapter_id is not None
    with bench.work.running.database.read() as session:
        return evidence.lock_of_adapter(session, case.adapter_id)


def file_of(bench: Bench) -> Path:
    return bringing.files_of(bench.work.running.studio).path(SHA)


def test_it_is_closed_to_reviewers_without_the_access(bench: Bench) -> None:
    _, _, case = refused(bench)
    assert case.due_at == case.opened_at + timedelta(hours=24)
    reviewer = bench.ask("reviewer")
    assert "This evidence is locked" in words(reviewer.get("/review/view"))
    at = f"/review/cases/{case.id}"
    assert reviewer.get(f"{at}/veil").status_code == 404
    assert look(reviewer, case).status_code == 403
    assert reviewer.get(f"{at}/picture").status_code == 403
    assert decide(reviewer, case, "allow").status_code == 403
    named = grant(bench)
    assert named.get(f"{at}/picture").status_code == 404, "a look comes first"
    look(named, case)
    assert named.get(f"{at}/picture").headers["content-type"] == "image/png", "grey, and small"
    assert "nobody can delete it before" in words(named.get(f"/review/view?case={case.id}"))


def test_no_verb_deletes_its_file_or_its_grid(bench: Bench) -> None:
    adapter_id, grid, _ = refused(bench)
    studio, creator = bench.work.running.studio, bench.ask("creator")
    assert creator.post(f"/loras/{adapter_id}/name", data={"name": "Ink"}).status_code == 409
    assert creator.post(f"/loras/{adapter_id}/remove").status_code == 303
    assert creator.get("/loras/list").json()["loras"] == [], "it is off the shelf all the same"
    again = upload(creator)
    assert again.status_code == 409
    assert "The safety desk refused this LoRA" in again.json()["error"]["message"]
    files = bringing.files_of(studio)
    adapter_files.tidy(studio.database, files, now() + timedelta(days=9))
    for model in ("pocket-turbo", "pocket-raw"):
        withdrawal.revoke(studio.database, model, reason="The licence ended", given_by="root")
    assert withdrawal.delete_loras(studio.database, "pocket-raw", files) == 0
    assert file_of(bench).is_file()
    assert grid.is_file()


FORBIDDEN: tuple[Executable, ...] = (
    delete(Adapter),
    update(Adapter).values(judgement="ready"),
    update(Adapter).values(judgement=None),
    update(Adapter).values(name="Ink"),
    update(Adapter).values(triggers="ink"),
    update(Adapter).values(sha256="0" * 64),
    update(Adapter).values(probed_at=None),
    delete(AdapterLock),
    update(AdapterLock).values(keep_until=AdapterLock.keep_until - timedelta(days=1)),
    text("TRUNCATE adapter_lock"),
)


def test_the_database_itself_refuses(bench: Bench) -> None:
    refused(bench)
    for statement in FORBIDDEN:
        with (
            pytest.raises(IntegrityError),
            bench.work.running.database.transaction() as session,
        ):
            session.execute(statement)


def test_a_decision_that_clears_somebody_gives_nobody_the_lora(bench: Bench) -> None:
    adapter_id, _, case = refused(bench)
    answer = decide(grant(bench), case, "allow", reason="A doll on a shelf.")
    assert answer.status_code == 200
    (lora,) = bench.ask("creator").get("/loras/list").json()["loras"]
    assert (lora["id"], lora["state"]) == (adapter_id, "refused")
    assert "Allowed by a reviewer" in words(bench.ask("creator").get("/refusals"))


def test_a_reviewer_s_decision_locks_what_the_filter_only_doubted(bench: Bench) -> None:
    adapter_id = str(upload(bench.ask("creator")).json()["id"])
    probe(bench.work, adapter_id, DOUBTED)
    (case,) = open_cases(bench.work, "adapter")
    assert lock_of(bench, case) is None
    bench.ask("creator").post(f"/loras/{adapter_id}/remove")
    assert file_of(bench).is_file(), "a reviewer has to judge it first"
    decide(bench.ask("reviewer"), case, "block", category="minors_sexual")
    assert lock_of(bench, case) is not None
    at = f"/review/cases/{case.id}"
    assert bench.ask("reviewer").get(f"{at}/picture").status_code == 403
    numbers = words(bench.ask("reviewer").get("/review/view?view=numbers"))
    assert "LoRAs Sexual content with minors Blocked 1" in numbers
    assert "LoRA withheld 1" in numbers


def test_the_report_begins_the_year_anew(bench: Bench) -> None:
    _, _, case = refused(bench)
    before = lock_of(bench, case)
    assert before is not None
    grant(bench).post(f"/review/cases/{case.id}/steps/reported", data={"note": "Receipt 4711"})
    after = lock_of(bench, case)
    assert after is not None
    assert after.keep_until > before.keep_until


def test_its_name_outlives_that_its_maker_is_forgotten(bench: Bench) -> None:
    _, _, case = refused(bench)
    studio, owner = bench.work.running.studio, bench.desks.team.owner
    bench.ask("creator").post(f"/refusals/{case.id}/appeal", data={"words": "It draws dolls."})
    account.remove(studio, owner, bench.creator.id)
    departures.erase(studio, owner, bench.creator.id)
    with studio.database.read() as session:
        assert session.scalar(text("SELECT excerpt FROM verdict")) == "Line art"
        assert session.scalar(text("SELECT words FROM appeal")) == "It draws dolls."


def test_it_is_destroyed_by_the_command_when_its_time_is_over_and_not_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    monkeypatch.setenv("ATELIER_STATE", environ["ATELIER_STATE"])
    adapter_id, grid, _ = refused(bench)
    database = bench.work.running.database

    def say(**chosen: bool) -> list[str]:
        return review_commands.COMMANDS["evidence"](Namespace(**chosen), database, Path())

    assert say(destroy_expired=True, yes=True) == ["The time of no evidence is over."]
    with pytest.raises(Conflict), database.transaction() as session:
        adapters.destroy(session, UUID(adapter_id))
    assert grid.is_file()
    with database.transaction() as session:
        session.execute(text("ALTER TABLE adapter_lock DISABLE TRIGGER keep_evidence_lock"))
        past = now() - KEPT - timedelta(days=1)
        session.execute(update(AdapterLock).values(locked_at=past, keep_until=past + KEPT))
        session.execute(text("ALTER TABLE adapter_lock ENABLE TRIGGER keep_evidence_lock"))
    (line,) = say(destroy_expired=False, yes=False)
    assert "a LoRA, locked" in line
    assert "(over)" in line
    (gone,) = say(destroy_expired=True, yes=True)
    assert gone.endswith("2 files deleted")
    assert not grid.exists()
    assert not file_of(bench).exists()
    assert say(destroy_expired=True, yes=True) == ["The time of no evidence is over."]
    with database.read() as session:
        assert adapters.access(session, bench.creator, adapter_id).state == "removed"
        assert session.scalars(select(AdapterLock)).one() is not None, "the lock says there was one"
