"""The use policy as admins and the operator tighten it, from the page to the next prompt."""

import argparse
import re
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from desks import Desks, open_desks

from licensing import policy
from licensing.db import Database
from licensing.errors import AtelierError
from webapp import operator_commands, operator_words


@pytest.fixture
def desks(stack: ExitStack, environ: dict[str, str]) -> Desks:
    return open_desks(stack, environ, seat_ceiling=6)


def words(answer: httpx2.Response) -> str:
    assert answer.status_code == 200, answer.text
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def test_an_admin_makes_a_category_stricter_and_returns_to_the_least(desks: Desks) -> None:
    client = desks.ask(desks.team.admin)
    assert "Nothing was changed yet" in words(client.get("/team/view?view=policy"))
    asked = {"category": "sexual", "action": "block", "reason": "A studio for schools."}
    done = words(client.post("/team/policy", data=asked))
    assert "Sexual content: refused, from the next prompt on." in done
    assert f"{desks.team.admin.name} ·" in done
    assert "A studio for schools." in done
    with desks.running.database.read() as session:
        assert policy.tightened(session, desks.team.admin.organisation_id) == {"sexual": "block"}
    back = {"category": "sexual", "action": "label", "reason": "Life drawing is back."}
    assert "made, and noted" in words(client.post("/team/policy", data=back))


@pytest.mark.parametrize(
    ("category", "action", "reason", "status"),
    [
        ("minors_sexual", "review", "why", 409),
        ("hate", "label", "why", 409),
        ("hate", "allow", "why", 409),
        ("hate", "block", " ", 409),
        ("hate", "review", "why", 409),  # stands there already
        ("weather", "block", "why", 404),
    ],
)
def test_nobody_goes_below_the_floor(
    desks: Desks, category: str, action: str, reason: str, status: int
) -> None:
    asked = {"category": category, "action": action, "reason": reason}
    assert desks.ask(desks.team.owner).post("/team/policy", data=asked).status_code == status
    with desks.running.database.read() as session:
        assert policy.history(session, desks.team.owner.organisation_id, limit=9) == []


def test_the_operator_tightens_by_the_command(desks: Desks) -> None:
    database = desks.running.database
    name = str(desks.team.owner.organisation_id)
    assert "hate                 review" in atelier(database, name)
    said = atelier(database, name, "hate", "block", "--reason", "A public kiosk.")
    assert "hate                 block (stricter)" in said
    with pytest.raises(AtelierError, match="the licence asks for at least “block”"):
        atelier(database, name, "ncii", "label", "--reason", "no")
    page = words(desks.ask(desks.team.owner).get("/team/view?view=policy"))
    assert "The operator ·" in page


def atelier(database: Database, *said: str) -> list[str]:
    parser = argparse.ArgumentParser()
    operator_words.add_parsers(parser.add_subparsers(dest="command"))
    chosen = parser.parse_args(["policy", *said])
    return operator_commands.COMMANDS[chosen.command](chosen, database, Path())
