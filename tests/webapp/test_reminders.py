"""What is said in time: a yearly statement that runs out, a proved domain whose record is gone."""

from contextlib import ExitStack
from datetime import timedelta

import pytest
from factories import identity, team
from post_office import name_server, post_office
from running import Running, start

from licensing import arrivals, domains, licence
from licensing.db import now
from licensing.domain_proofs import MISSING_MAX
from licensing.domains import SeatPolicy
from licensing.errors import NotAllowed
from webapp import joining
from webapp.reminders import remind


def studio(stack: ExitStack, environ: dict[str, str], port: int, servers: str) -> Running:
    smtp = {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(port),
        "SMTP_SECURITY": "none",
        "SMTP_FROM": "Atelier <atelier@studio.example>",
    }
    return start(stack, {**environ, **smtp, "ATELIER_DNS_SERVERS": servers})


def test_owners_are_told_once_that_the_statement_runs_out(
    stack: ExitStack, environ: dict[str, str]
) -> None:
    office = stack.enter_context(post_office())
    address = stack.enter_context(name_server({}))
    running = studio(stack, environ, office.port, address)
    people = team(running.database)
    with running.database.transaction() as session:
        made = licence.attest(session, "below_threshold", given_by="Olga", author_id=None)
    remind(running.studio, made.valid_until - timedelta(days=40))
    assert office.letters == []
    for days in (29, 28, 1):
        remind(running.studio, made.valid_until - timedelta(days=days))
    [letter] = office.letters
    assert str(letter["To"]) == people.owner.email
    assert "/licence" in letter.get_content()


def test_a_domain_whose_record_is_gone_for_a_month_is_not_proved_any_more(
    stack: ExitStack, environ: dict[str, str]
) -> None:
    office = stack.enter_context(post_office())
    records: dict[str, list[str]] = {}
    address = stack.enter_context(name_server(records))
    running = studio(stack, environ, office.port, address)
    people = team(running.database)
    made = joining.add_domain(
        running.studio, people.admin, domain="nord.test", seat_policy=SeatPolicy.SEAT
    )
    records[made.record_name] = [made.record_value]
    joining.verify_domain(running.studio, people.admin, made.id)
    begun = now()

    def is_proved(days: int) -> bool:
        remind(running.studio, begun + timedelta(days=days))
        with running.database.read() as session:
            return domains.get(session, people.id, made.id).verified_at is not None

    assert is_proved(2)
    assert office.letters == []
    value = records.pop(made.record_name)
    assert is_proved(4)
    assert is_proved(6)
    told = [str(letter["To"]) for letter in office.letters]
    assert told == [people.admin.email, people.owner.email]  # once, both of them
    records[made.record_name] = value
    assert is_proved(8)  # a record that is put back in time
    del records[made.record_name]
    assert is_proved(10)
    assert not is_proved(11 + MISSING_MAX.days)
    with running.database.transaction() as session, pytest.raises(NotAllowed):
        arrivals.sign_in(session, identity(email="n@nord.test"))
