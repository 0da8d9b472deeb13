"""What an admin does to a member takes hold at once: sessions, jobs, money, seats."""

import re
import uuid
from contextlib import ExitStack

import pytest
from atelier_at_work import Work, open_work
from desks import add_desks, message
from running import sign_in

from inference.generations import Generation
from licensing import seat_history, seats
from licensing.errors import AtelierError
from licensing.seats import Member, Role, SeatUsage, Status
from webapp import account, joining


@pytest.fixture
def work(stack: ExitStack, environ: dict[str, str]) -> Work:
    work = open_work(stack, environ)
    add_desks(work.running)
    return work


def usage(work: Work) -> SeatUsage:
    with work.running.database.read() as session:
        return seats.seat_usage(session, work.member.organisation_id)


def now_of(work: Work, member: Member) -> Member:
    with work.running.database.read() as session:
        found = seats.get_member(session, member.id)
    assert found is not None
    return found


def post(work: Work, path: str, **fields: str) -> str:
    answer = work.client("demo-admin").post(f"/team/{path}", data=fields)
    assert answer.status_code == 200, answer.text
    return answer.text


def waiting_and_running(work: Work) -> tuple[Generation, Generation]:
    running = work.submit(seed=1)
    work.claim(running)
    return work.submit(seed=2), running


def assert_stopped(work: Work, waiting: Generation, running: Generation) -> None:
    assert work.read(waiting).state == "cancelled"
    assert work.read(running).cancel_requested_at is not None
    held = work.balance().held_micros
    assert held == running.price_micros, "the waiting job's hold is free, the running one's follows"


def test_a_suspended_member_is_out_and_their_jobs_stop(work: Work) -> None:
    theirs = work.client()
    assert theirs.get("/gallery").status_code == 200
    jobs = waiting_and_running(work)
    before = usage(work)

    news = post(work, f"members/{work.member.id}/suspend")

    assert "Cleo Marchetti is suspended and signed out everywhere." in news
    assert theirs.get("/gallery").status_code == 401
    assert_stopped(work, *jobs)
    assert usage(work) == before, "the seat stays theirs"
    refused = sign_in(work.running.browser())
    assert refused.status_code == 403
    assert "suspended" in refused.text

    post(work, f"members/{work.member.id}/resume")
    assert theirs.get("/gallery").status_code == 401, "the old session stays ended"
    assert work.client().get("/gallery").status_code == 200


def test_a_seat_taken_back_stops_the_jobs_and_leaves_the_person_signed_in(work: Work) -> None:
    theirs = work.client()
    jobs = waiting_and_running(work)
    left = usage(work).left

    post(work, f"members/{work.member.id}/revoke-seat")

    assert_stopped(work, *jobs)
    assert usage(work).left == left + 1
    assert theirs.get("/gallery").status_code == 200
    assert not now_of(work, work.member).seated
    post(work, f"members/{work.member.id}/assign-seat")
    assert now_of(work, work.member).seated
    assert usage(work).left == left


def test_a_removed_member_is_nobody_and_comes_back_by_the_link_of_an_invite(work: Work) -> None:
    theirs = work.client()
    jobs = waiting_and_running(work)
    left = usage(work).left
    post(work, f"members/{work.member.id}/remove")
    assert_stopped(work, *jobs)
    assert theirs.get("/gallery").status_code == 401
    assert now_of(work, work.member).status == Status.REMOVED
    assert usage(work).left == left + 1
    assert sign_in(work.running.browser()).status_code == 403

    shown = post(work, "invites", email=" Cleo@Demo.example ", role="reviewer", seated="true")
    assert usage(work).left == left, "the pending invite holds the seat"
    link = re.search(r'value="(http://127.0.0.1:\d+/invite/[\w-]{43})"', shown)
    assert link
    again = work.client("demo-admin").get("/team/view").text
    assert link[1].rsplit("/", 1)[1] not in again, "the link is shown once"

    browser = work.running.browser()
    page = browser.get(link[1])
    start = re.search(r'href="(/login/demo\?[^"]*invite=[^"]+)"', page.text)
    assert start
    departure = browser.get(start[1].replace("&amp;", "&"))
    chosen = browser.post(departure.headers["location"], data={"subject": "demo-creator"})
    arrived = browser.get(chosen.headers["location"])
    assert (arrived.status_code, arrived.headers["location"]) == (303, "/review")
    back = now_of(work, work.member)
    assert (back.status, back.role, back.seated) == (Status.ACTIVE, Role.REVIEWER, True)
    assert usage(work).left == left, "the invite's seat became theirs"


def test_an_invite_is_claimed_by_signing_in_with_the_address_alone(work: Work) -> None:
    post(work, f"members/{work.member.id}/remove")
    post(work, "invites", email="cleo@demo.example", role="creator")
    assert sign_in(work.running.browser()).headers["location"] == "/create"
    back = now_of(work, work.member)
    assert (back.status, back.seated) == (Status.ACTIVE, False)


def test_an_invite_taken_back_lets_nobody_in_and_frees_its_seat(work: Work) -> None:
    post(work, f"members/{work.member.id}/remove")
    left = usage(work).left
    post(work, "invites", email="cleo@demo.example", role="creator", seated="true")
    listed = work.client("demo-admin").get("/team/view").text
    path = re.search(r'data-sheet="/team/(invites/[0-9a-f-]{36})"', listed)
    assert path
    assert "stops working at once" in work.client("demo-admin").get(f"/team/{path[1]}").text
    post(work, f"{path[1]}/revoke")
    assert usage(work).left == left
    assert sign_in(work.running.browser()).status_code == 403
    stale = work.client("demo-admin").post(f"/team/{path[1]}/revoke")
    assert (stale.status_code, message(stale)) == (404, "There is no such pending invite.")


def test_a_new_role_opens_and_closes_pages_at_the_next_request(work: Work) -> None:
    theirs = work.client()
    assert theirs.get("/finance/view").status_code == 403
    news = post(work, f"members/{work.member.id}/role", role="finance")
    assert "Cleo Marchetti is finance from now on." in news
    assert theirs.get("/finance/view").status_code == 200
    post(work, f"members/{work.member.id}/role", role="creator")
    assert theirs.get("/finance/view").status_code == 403


@pytest.mark.parametrize("verb", ["suspend", "resume", "revoke-seat", "assign-seat"])
def test_a_double_click_is_one_change(work: Work, verb: str) -> None:
    for _ in range(2):
        post(work, f"members/{work.member.id}/{verb}")
    kinds = {"revoke-seat": "seat_revoked", "assign-seat": "seat_assigned", "suspend": "suspended"}
    with work.running.database.read() as session:
        written = [
            change.kind
            for change in seat_history.changes(session, work.member.organisation_id, limit=50)
            if change.kind == kinds.get(verb)
        ]
    assert len(written) == (1 if verb in {"suspend", "revoke-seat"} else 0)


def test_removing_twice_says_that_it_is_done(work: Work) -> None:
    post(work, f"members/{work.member.id}/remove")
    again = work.client("demo-admin").post(f"/team/members/{work.member.id}/remove")
    assert (again.status_code, message(again)) == (404, "There is no such member.")


def test_nobody_locks_themselves_out(work: Work) -> None:
    me = work.running.member("demo-admin")
    client = work.client("demo-admin")
    for path, fields in (("suspend", {}), ("remove", {}), ("role", {"role": "creator"})):
        refused = client.post(f"/team/members/{me.id}/{path}", data=fields)
        assert refused.status_code in {403, 409}
        assert "another owner or admin" in message(refused)
    assert now_of(work, me).role == Role.ADMIN
    assert client.get("/team/view").status_code == 200


def test_a_use_case_asks_for_the_actor_itself(work: Work) -> None:
    creator, admin = work.member, work.running.member("demo-admin")
    with pytest.raises(AtelierError, match="Only an owner or an admin"):
        account.remove(work.running.studio, creator, admin.id)
    with pytest.raises(AtelierError, match="Only an owner or an admin"):
        joining.invite(
            work.running.studio, creator, email="x@y.example", role=Role.OWNER, seated=False
        )


def test_what_is_no_id_no_role_and_no_verb_is_not_found(work: Work) -> None:
    client = work.client("demo-admin")
    for path in (
        f"members/{uuid.uuid4()}/suspend",
        "members/1%20OR%201/suspend",
        f"members/{work.member.id}/promote",
        f"invites/{uuid.uuid4()}/revoke",
    ):
        assert client.post(f"/team/{path}").status_code == 404, path
    emperor = client.post(f"/team/members/{work.member.id}/role", data={"role": "emperor"})
    assert (emperor.status_code, message(emperor)) == (404, "There is no such role.")
