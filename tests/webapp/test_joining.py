"""Invites arrive by mail, files invite whole, a domain is proved by its DNS record."""

import re
from contextlib import ExitStack

import pytest
from factories import Team, identity, team
from post_office import PostOffice, name_server, post_office
from running import Running, start
from sqlalchemy import select

from licensing import arrivals, domains, invites, plans, seats
from licensing.domain_proofs import DomainNotProved
from licensing.domains import SeatPolicy
from licensing.errors import AtelierError, NotAllowed
from licensing.member_import import ImportRefused
from licensing.seats import Identity, Member, Role
from webapp import joining, mail
from webapp.dns import DnsAway
from webapp.mail import MailNotSent, MailServer
from webapp.settings import SettingsProblem, read_settings
from webapp.sso import sessions
from webapp.sso.sessions import ProviderSession, WebSession

LINK = re.compile(r"http://127\.0\.0\.1:\d+/invite/(\S+)")


def studio_with(
    stack: ExitStack, environ: dict[str, str], office: PostOffice | None = None, **more: str
) -> Running:
    smtp = {}
    if office is not None:
        smtp = {
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(office.port),
            "SMTP_SECURITY": "none",
            "SMTP_FROM": "Atelier <atelier@studio.example>",
        }
    return start(stack, {**environ, **smtp, **more})


def invite(running: Running, people: Team, email: str) -> joining.Invitation:
    return joining.invite(running.studio, people.admin, email=email, role=Role.CREATOR, seated=True)


def test_an_invite_is_mailed_and_its_link_lets_in(
    stack: ExitStack, environ: dict[str, str]
) -> None:
    office = stack.enter_context(post_office())
    running = studio_with(stack, environ, office)
    people = team(running.database)
    made = invite(running, people, "zoë@x.example")
    assert (made.link, made.problem) == (None, None)
    [letter] = office.letters
    assert str(letter["To"]) == "zoë@x.example"
    assert str(letter["From"]) == "Atelier <atelier@studio.example>"
    assert letter["Subject"] == "Amir Admin invites you to Studio Nord"
    found = LINK.search(letter.get_content())
    assert found is not None
    with running.database.transaction() as session:
        joined = arrivals.accept_invite(session, found[1], identity(email="zoë@x.example"))
    assert joined.seated


def test_sending_again_kills_the_old_link(stack: ExitStack, environ: dict[str, str]) -> None:
    office = stack.enter_context(post_office())
    running = studio_with(stack, environ, office)
    people = team(running.database)
    made = invite(running, people, "a@x.example")
    joining.renew_invite(running.studio, people.admin, made.invite.id)
    old, new = (LINK.search(letter.get_content()) for letter in office.letters)
    assert old is not None
    assert new is not None
    who = identity(email="a@x.example")
    with running.database.transaction() as session:
        with pytest.raises(AtelierError, match="not valid any more"):
            arrivals.accept_invite(session, old[1], who)
        assert seats.seat_usage(session, people.id).pending == 1
        arrivals.accept_invite(session, new[1], who)


def test_without_a_mail_server_the_link_is_shown_once(
    stack: ExitStack, environ: dict[str, str]
) -> None:
    running = studio_with(stack, environ)
    made = invite(running, team(running.database), "a@x.example")
    assert made.link is not None
    assert LINK.fullmatch(made.link)


def test_a_letter_that_does_not_go_leaves_its_link_and_the_others_go(
    stack: ExitStack, environ: dict[str, str]
) -> None:
    office = stack.enter_context(post_office(refused=("b@x.example",)))
    running = studio_with(stack, environ, office)
    people = team(running.database)
    done = joining.carry_out_import(
        running.studio, people.admin, b"email\na@x.example\nb@x.example\nc@x.example\n"
    )
    told = {each.invite.email: each for each in done.invitations}
    assert [str(letter["To"]) for letter in office.letters] == ["a@x.example", "c@x.example"]
    assert told["a@x.example"].link is None
    assert told["b@x.example"].link is not None
    assert "does not accept this address" in (told["b@x.example"].problem or "")


def test_a_server_that_goes_away_costs_nobody_their_invite(
    stack: ExitStack, environ: dict[str, str]
) -> None:
    office = stack.enter_context(post_office(hang_up_after=1))
    running = studio_with(stack, environ, office)
    people = team(running.database)
    done = joining.carry_out_import(
        running.studio, people.admin, b"email\na@x.example\nb@x.example\nc@x.example\n"
    )
    assert [each.link is None for each in done.invitations] == [True, False, False]
    with running.database.read() as session:
        assert len(invites.invites(session, people.id)) == 3


def test_a_wrong_password_or_an_absent_server_is_said_without_secrets() -> None:
    with post_office() as office:
        server = MailServer("127.0.0.1", office.port, "none", "me", "wrong", "a@x.example")
        with pytest.raises(MailNotSent, match="SMTP_USER and SMTP_PASSWORD") as refusal:
            mail.send(server, to="b@x.example", subject="s", text="t")
        assert "wrong" not in refusal.value.message + repr(server)
        right = MailServer("127.0.0.1", office.port, "none", "me", "right", "a@x.example")
        assert mail.send(right, to="b@x.example", subject="a\nBcc: c@x.example", text="t")
        assert office.letters[0]["Bcc"] is None
    with pytest.raises(MailNotSent, match="does not answer"):
        mail.send(server, to="b@x.example", subject="s", text="t")
    assert mail.send(None, to="b@x.example", subject="s", text="t") is False


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"SMTP_HOST": "mail.example"}, "SMTP_FROM"),
        ({"SMTP_HOST": "m", "SMTP_FROM": "a@b.example", "SMTP_SECURITY": "ssl"}, "starttls"),
        (
            {"SMTP_HOST": "m", "SMTP_FROM": "a@b.c", "SMTP_SECURITY": "none", "SMTP_USER": "u"},
            "in the clear",
        ),
        ({"SMTP_HOST": "m", "SMTP_FROM": "a@b.c", "SMTP_PORT": "0"}, "SMTP_PORT"),
        ({"ATELIER_DNS_SERVERS": "ns.example"}, "IP addresses"),
    ],
)
def test_settings_that_cannot_work_stop_the_start(given: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsProblem, match=words):
        read_settings(given)


def test_a_file_with_a_wrong_line_mails_nobody(stack: ExitStack, environ: dict[str, str]) -> None:
    office = stack.enter_context(post_office())
    running = studio_with(stack, environ, office)
    people = team(running.database)
    content = b"email\na@x.example\nnobody\n"
    assert joining.plan_import(running.studio, people.admin, content).count("error") == 1
    with pytest.raises(ImportRefused):
        joining.carry_out_import(running.studio, people.admin, content)
    with pytest.raises(NotAllowed):
        joining.plan_import(running.studio, people.creator, content)
    assert office.letters == []


def test_a_record_in_the_dns_proves_a_domain(stack: ExitStack, environ: dict[str, str]) -> None:
    records: dict[str, list[str]] = {}
    address = stack.enter_context(name_server(records))
    running = studio_with(stack, environ, ATELIER_DNS_SERVERS=address)
    people = team(running.database)
    made = joining.add_domain(
        running.studio, people.admin, domain="nord.test", seat_policy=SeatPolicy.SEAT
    )
    with pytest.raises(DomainNotProved, match="no TXT record yet"):
        joining.verify_domain(running.studio, people.admin, made.id)
    records[made.record_name] = ["something else"]
    with pytest.raises(DomainNotProved, match="another value stands there") as refusal:
        joining.verify_domain(running.studio, people.admin, made.id)
    assert made.record_value in refusal.value.message
    records[made.record_name].append(made.record_value)
    assert joining.verify_domain(running.studio, people.admin, made.id).verified_at is not None
    with running.database.transaction() as session:
        assert arrivals.sign_in(session, identity(email="n@nord.test")).seated


def test_a_name_server_that_is_broken_proves_nothing(
    stack: ExitStack, environ: dict[str, str]
) -> None:
    address = stack.enter_context(name_server({}, is_broken=True))
    running = studio_with(stack, environ, ATELIER_DNS_SERVERS=address)
    people = team(running.database)
    made = joining.add_domain(running.studio, people.admin, domain="nord.test")
    with pytest.raises(DnsAway):
        joining.verify_domain(running.studio, people.admin, made.id)
    with running.database.read() as session:
        assert domains.get(session, people.id, made.id).verified_at is None


def test_in_the_demonstration_a_domain_of_nobody_counts_as_proved(
    stack: ExitStack, environ: dict[str, str]
) -> None:
    running = studio_with(stack, environ)
    people = team(running.database)
    made = joining.add_domain(running.studio, people.admin, domain="nord.example")
    assert joining.verify_domain(running.studio, people.admin, made.id).verified_at is not None


def session_of(running: Running, member: Member) -> None:
    with running.database.transaction() as session:
        seen = ProviderSession("demo", member.issuer, member.subject, None, "", None, None, None)
        sessions.open_session(session, member, seen, lifetime=joining.INVITE_LIFETIME)


def test_requiring_a_provider_signs_the_others_out(
    stack: ExitStack, environ: dict[str, str]
) -> None:
    running = studio_with(stack, environ)
    issuer = running.settings.providers[0].issuer
    with running.database.transaction() as session:
        organisation = seats.create_organisation(
            session, name="Nord", tier="enterprise", seat_ceiling=60
        )
        made = {
            subject: seats.add_member(
                session,
                organisation.id,
                Identity(via, subject, f"{subject}@nord.example", True, subject),
                role=role,
                seated=False,
            )
            for subject, via, role in (
                ("olga", issuer, Role.OWNER),
                ("eve", "https://other.example", Role.CREATOR),
            )
        }
    for member in made.values():
        session_of(running, member)
    domain = joining.add_domain(running.studio, made["olga"], domain="nord.example")
    joining.verify_domain(running.studio, made["olga"], domain.id)
    with pytest.raises(DomainNotProved, match="no such sign-in provider"):
        joining.require_provider(running.studio, made["olga"], domain.id, "https://x.example")
    joining.require_provider(running.studio, made["olga"], domain.id, issuer)
    with running.database.read() as session:
        left = set(session.scalars(select(WebSession.member_id)))
        assert plans.read(session, organisation.id).tier.id == "enterprise"
    assert left == {made["olga"].id}
