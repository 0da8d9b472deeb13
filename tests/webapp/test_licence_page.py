"""The operator states what the licence asks; everybody can read how it stands."""

import argparse
import re
from contextlib import ExitStack
from pathlib import Path

import pytest
from atelier_at_work import Work, open_work
from desks import Desks, open_desks

from licensing import agreements, documents, licence, model_switches, plans
from licensing.errors import AtelierError, Conflict
from webapp import generate, operator_commands, operator_words
from webapp.cli import main

KREA = "krea-2-turbo"


@pytest.fixture
def desks(stack: ExitStack, environ: dict[str, str]) -> Desks:
    return open_desks(stack, environ)


def statement(desks: Desks, kind: str = "below_threshold") -> str:
    page = desks.ask(desks.team.owner).get("/licence").text
    found = re.search(rf'value="({kind}:[0-9a-f]{{64}})"', page)
    assert found is not None
    return found[1]


def is_valid(desks: Desks) -> bool:
    with desks.running.database.read() as session:
        return licence.standing(session).is_valid


def test_an_owner_states_it_and_takes_it_back(desks: Desks) -> None:
    owner = desks.ask(desks.team.owner)
    assert "has not been made yet" in owner.get("/licence").text
    done = owner.post("/licence/attest", data={"statement": statement(desks)})
    assert done.status_code == 303
    assert is_valid(desks)
    page = owner.get("/licence").text
    assert "Olga Owner stated it on" in page
    empty = owner.post("/licence/withdraw", data={"reason": " "})
    assert (empty.status_code, is_valid(desks)) == (409, True)
    assert owner.post("/licence/withdraw", data={"reason": "<b>We grew</b>"}).status_code == 303
    assert not is_valid(desks)
    assert "&lt;b&gt;We grew" in owner.get("/licence").text


def test_what_was_not_on_the_page_is_not_stored(desks: Desks) -> None:
    owner = desks.ask(desks.team.owner)
    for fields in (
        {},
        {"statement": "below_threshold:" + "0" * 64},
        {"statement": "demonstration:" + "0" * 64},
        {"statement": "withdrawn:"},
        {"given_by": "x" * 501},
    ):
        answer = owner.post("/licence/attest", data=fields)
        assert answer.status_code in {403, 409, 422}, fields
    assert not is_valid(desks)


def test_only_the_operators_owner_states_anything(desks: Desks) -> None:
    value = statement(desks)
    for who in (desks.team.admin, desks.team.creator, desks.another().owner):
        client = desks.ask(who)
        page = client.get("/licence")
        assert page.status_code == 200
        assert "State this for a year" not in page.text
        assert client.post("/licence/attest", data={"statement": value}).status_code == 403
        assert client.post("/licence/withdraw", data={"reason": "x"}).status_code == 403
    assert not is_valid(desks)


def test_submit_says_why_and_charges_nothing(stack: ExitStack, environ: dict[str, str]) -> None:
    work = open_work(stack, environ)
    with work.running.database.transaction() as session:
        assert licence.standing(session).is_valid, "the demonstration states that it is one"
        model_switches.switch(
            session, "pocket-turbo", "revoked", reason="Recalled", given_by="Olga"
        )
    with pytest.raises(licence.ModelRevoked, match="Recalled"):
        submit(work)
    with work.running.database.transaction() as session:
        licence.withdraw(session, given_by="Olga", author_id=None, reason="We grew")
    with pytest.raises(licence.AttestationRequired, match="We grew"):
        submit(work, model=KREA, width=1024, height=1024)
    assert work.balance().held_micros == 0


def submit(work: Work, **changes: object) -> None:
    fields = {"prompt": "a red apple", "model": "pocket-turbo", "width": 256, "height": 256}
    fields |= {"images": 1, "seed": 1, **changes}
    generate.submit(work.running.studio, work.member, fields, "key")


def command(desks: Desks, *words: str) -> list[str]:
    parser = argparse.ArgumentParser()
    operator_words.add_parsers(parser.add_subparsers(dest="command"))
    chosen = parser.parse_args(words)
    chosen.state = desks.running.settings.state
    weights = desks.running.settings.weights
    return operator_commands.COMMANDS[chosen.command](chosen, desks.running.database, weights)


def test_the_command_shows_before_it_states(desks: Desks) -> None:
    shown = "\n".join(command(desks, "attest", "--by", "Olga"))
    assert "US$1,000,000" in shown
    assert "--yes" in shown
    assert not is_valid(desks)
    assert "valid until" in command(desks, "attest", "--by", "Olga", "--yes")[0]
    assert is_valid(desks)
    command(desks, "attest", "--by", "Olga", "--withdraw", "We grew")
    assert not is_valid(desks)
    command(desks, "attest", "--by", "Olga", "--yes", "--enterprise-licence", "K2-77")
    assert is_valid(desks)


def test_the_commands_switch_a_model_off_and_on(desks: Desks, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="Say why"):
        command(desks, "revoke-model", KREA)
    off = command(desks, "revoke-model", KREA, "--reason", "Recalled", "--by", "Olga")
    assert off == ["Krea 2 Turbo is switched off; jobs stopped: 0."]
    with pytest.raises(Conflict, match="already"):
        command(desks, "revoke-model", KREA, "--reason", "Recalled")
    again = command(desks, "revoke-model", KREA, "--reason", "Recalled", "--delete-weights")
    assert "No files of it lie here." in again
    assert "Krea 2 Turbo is switched off since" in desks.ask(desks.team.owner).get("/licence").text
    command(desks, "restore-model", KREA, "--reason", "Cleared")
    with pytest.raises(AtelierError, match="not in the studio's catalogue"):
        command(desks, "revoke-model", "../x", "--reason", "Recalled")
    assert not list(tmp_path.glob("**/x"))


def test_the_commands_change_plans_and_file_documents(desks: Desks, tmp_path: Path) -> None:
    name = desks.team.organisation.name
    assert command(desks, "plan", name, "--tier", "enterprise", "--seats", "60") == [
        "Studio Nord: Enterprise, 60 seats bought, 3 assigned, 0 held by pending invites."
    ]
    text = tmp_path / "dpa.md"
    text.write_text("# DPA\n\nText.")
    words = ("document", str(desks.team.id), "dpa", "1", str(text), "--title", "Processing")
    assert command(desks, *words) == ["On file for Studio Nord: Processing, version 1."]
    with desks.running.database.transaction() as session:
        assert plans.read(session, desks.team.id).tier.id == "enterprise"
        [on_file] = documents.on_file(session, desks.team.id)
        agreements.accept(session, desks.team.owner.id, agreements.current(), on_file.created_at)
    page = desks.ask(desks.team.owner).get("/agreements").text
    assert "for my organisation: Processing" in page
    assert "<h1>For your organisation</h1>" in page
    answer = desks.ask(desks.team.owner).post("/agreements", data={"accept": on_file.text_sha256})
    assert answer.status_code == 303
    with desks.running.database.read() as session:
        assert len(documents.acceptances(session, on_file.id)) == 1
    with pytest.raises(AtelierError, match="No organisation is called"):
        command(desks, "plan", "Nobody")


def test_the_command_says_errors_in_one_sentence(
    desks: Desks, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", str(desks.running.settings.database_url))
    assert main(["restore-model", KREA, "--reason", "Cleared"]) == 1
    assert capsys.readouterr().err == "atelier: krea-2-turbo is not switched off.\n"
