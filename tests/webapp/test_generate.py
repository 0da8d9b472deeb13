"""Submit: one wish, one job, one hold; and every way to say no without a trace."""

import functools
import uuid
from contextlib import ExitStack

import pytest
from atelier_at_work import Work, agree, open_work
from racing import race
from sqlalchemy import func, select, update

from inference import models, presence
from inference.generations import Generation, TooManyInFlight
from inference.models import ModelUnavailable
from inference.request import InvalidRequest
from licensing import licence, moderation, roster
from licensing.agreements import AgreementRequired
from licensing.errors import Conflict, NotFound
from licensing.ledger import Account, InsufficientBalance
from licensing.moderation import PromptRefused
from licensing.seats import NoSeat
from webapp import generate

DOLLARS_25 = 25_000_000


@pytest.fixture
def work(stack: ExitStack, environ: dict[str, str]) -> Work:
    return open_work(stack, environ)


def jobs(work: Work) -> int:
    with work.running.database.read() as session:
        return session.scalar(select(func.count()).select_from(Generation)) or 0


def assert_untouched(work: Work) -> None:
    assert jobs(work) == 0
    assert (work.balance().settled_micros, work.balance().held_micros) == (DOLLARS_25, 0)


def test_a_submitted_request_is_queued_with_its_price_on_hold(work: Work) -> None:
    job = work.submit("a red apple", images=2, seed="7")
    assert (job.state, job.asked.prompt, job.asked.seed) == ("queued", "a red apple", 7)
    assert job.price_micros == 30_000
    assert work.balance().held_micros == 30_000
    assert work.balance().settled_micros == DOLLARS_25


def test_the_price_before_is_the_price_that_is_held(work: Work) -> None:
    form = {"model": "pocket-raw", "width": "256", "height": "128", "images": "3"}
    with work.running.database.read() as session:
        quoted = generate.quote(session, form)
    assert quoted.total_micros == 90_000
    assert work.submit(**form).price_micros == quoted.total_micros


def test_one_key_makes_one_job_and_one_hold(work: Work) -> None:
    first, second = work.submit(key="one"), work.submit(key="one")
    assert first.id == second.id
    assert (jobs(work), work.balance().held_micros) == (1, 15_000)


def test_a_double_click_on_two_threads_makes_one_job(work: Work) -> None:
    made = race([functools.partial(work.submit, key="double")] * 6)
    assert len({job.id for job in made}) == 1
    assert (jobs(work), work.balance().held_micros) == (1, 15_000)


def test_a_key_is_not_used_for_two_wishes(work: Work) -> None:
    work.submit("a red apple", key="one")
    with pytest.raises(Conflict):
        work.submit("a green apple", key="one")
    assert (jobs(work), work.balance().held_micros) == (1, 15_000)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("prompt", ""),
        ("prompt", "   \n "),
        ("prompt", "a" * 100_000),
        ("prompt", "a red\x00apple"),
        ("prompt", "a red\x1bapple"),
        ("width", "250"),
        ("width", "64"),
        ("height", "4096"),
        ("height", "tall"),
        ("images", "0"),
        ("images", "500"),
        ("seed", "seven"),
        ("seed", "1.5"),
        ("seed", "-1"),
        ("seed", str(2**32)),
        ("images", "9" * 23),
        ("width", "9" * 23),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_charged(work: Work, field: str, wrong: str) -> None:
    fields = {"prompt": "a red apple", "model": "pocket-turbo", "width": "128", "height": "128"}
    with pytest.raises(InvalidRequest) as refused:
        generate.submit(work.running.studio, work.member, {**fields, field: wrong}, "key")
    assert refused.value.field == field
    assert len(refused.value.message) < 200, "a sentence, not an echo of the input"
    assert_untouched(work)


@pytest.mark.parametrize("seed", [str(2**32), "9" * 23, "-" + "9" * 23, 10**22, 1e30])
def test_a_seed_out_of_its_range_is_told_the_range(work: Work, seed: object) -> None:
    fields = {"prompt": "a red apple", "model": "pocket-turbo", "seed": seed}
    with pytest.raises(InvalidRequest, match="must lie between 0 and 4294967295"):
        generate.submit(work.running.studio, work.member, fields, "key")


def test_without_a_seat_nothing_starts(work: Work) -> None:
    finance = work.running.member("demo-finance")
    agree(work, finance)
    with pytest.raises(NoSeat, match="admin"):
        generate.submit(work.running.studio, finance, {}, "key")
    assert_untouched(work)


def test_before_the_agreements_nothing_starts(work: Work) -> None:
    admin = work.running.member("demo-admin")
    fields = {"prompt": "a red apple", "model": "pocket-turbo"}
    with pytest.raises(AgreementRequired):
        generate.submit(work.running.studio, admin, fields, "key")
    assert_untouched(work)


def test_a_missing_cent_is_named_with_who_can_add_it(work: Work) -> None:
    with work.running.database.transaction() as session:
        wallet = Account.kind == "wallet"
        session.execute(update(Account).where(wallet).values(settled_micros=5_000))
    with pytest.raises(InsufficientBalance) as refused:
        work.submit()
    assert "$0.01 is missing" in refused.value.message
    assert "Fumiko Barros" in refused.value.message
    assert jobs(work) == 0


def test_a_blocked_prompt_is_recorded_and_costs_nothing(work: Work) -> None:
    with pytest.raises(PromptRefused):
        work.submit("counterfeit money, 100 dollar bill")
    assert_untouched(work)
    with work.running.database.read() as session:
        (verdict,) = moderation.refused(session, work.member.organisation_id, limit=10)
    assert (verdict.action, verdict.subject, verdict.generation_id) == ("block", "prompt", None)
    assert verdict.excerpt == "counterfeit money, 100 dollar bill"


def test_a_model_that_cannot_run_here_says_why(work: Work) -> None:
    if models.has_gpu():
        pytest.skip("this machine has the GPU that the sentence says is missing")
    with work.running.database.transaction() as session:
        licence.attest(session, "below_threshold", given_by="Olga Owner", author_id=None)
    with pytest.raises(ModelUnavailable, match="needs a GPU"):
        work.submit(model="krea-2-turbo", width=1024, height=1024)
    with pytest.raises(ModelUnavailable, match="catalogue"):
        work.submit(model="../../etc/passwd")
    assert_untouched(work)


def test_a_living_worker_decides_what_can_run(work: Work) -> None:
    reason = "The weights of Pocket Turbo are damaged."
    with work.running.database.transaction() as session:
        said = presence.Report("w", "cpu", "ready", models={"pocket-turbo": reason})
        presence.report(session, said)
    with pytest.raises(ModelUnavailable, match="damaged"):
        work.submit()
    assert_untouched(work)


def test_one_person_cannot_fill_the_queue(work: Work) -> None:
    for _ in range(8):
        work.submit()
    with pytest.raises(TooManyInFlight, match="8"):
        work.submit()
    assert work.balance().held_micros == 8 * 15_000


def test_without_a_broker_the_job_waits_in_its_row(
    stack: ExitStack, environ: dict[str, str]
) -> None:
    work = open_work(stack, {**environ, "BROKER_URL": "redis://127.0.0.1:1/0"})
    job = work.submit()
    assert work.read(job).state == "queued"
    assert work.balance().held_micros == 15_000


def test_a_waiting_job_is_cancelled_at_once_and_free(work: Work) -> None:
    job = work.submit()
    assert generate.cancel(work.running.studio, work.member, str(job.id)).state == "cancelled"
    assert work.balance().available_micros == DOLLARS_25


@pytest.mark.parametrize("whose", ["a stranger's", "nobody's", "nonsense"])
def test_only_an_own_job_can_be_cancelled(work: Work, whose: str) -> None:
    job = work.submit()
    given = {"a stranger's": str(job.id), "nobody's": str(uuid.uuid4()), "nonsense": "1; DROP"}
    with pytest.raises(NotFound, match="no such generation"):
        generate.cancel(work.running.studio, work.running.member("demo-admin"), given[whose])
    assert work.read(job).state == "queued"


def test_a_suspended_member_starts_nothing(work: Work) -> None:
    with work.running.database.transaction() as session:
        roster.suspend(session, work.running.member("demo-admin"), work.member.id)
    with pytest.raises(NoSeat):
        generate.submit(work.running.studio, work.running.member("demo-creator"), {}, "key")
    assert_untouched(work)
