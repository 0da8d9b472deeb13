"""The letters that a decision brings: to whoever made the thing, and to whoever reported it.

Written inside the transaction, where everything is known, and sent behind it. They name no
reviewer, and nothing of what others wrote.
"""

import logging

from sqlalchemy.orm import Session

from licensing import appeals, policy_words, reports, seats
from licensing.cases import ReviewCase
from licensing.decisions import Decision, Effect
from licensing.reports import Report
from licensing.seats import Member
from webapp import mail
from webapp.mail import Letter
from webapp.settings import Settings
from webapp.studio import Studio

_log = logging.getLogger("atelier.web")


def after(
    session: Session, settings: Settings, case: ReviewCase, made: Decision, effect: Effect
) -> tuple[Letter, ...]:
    """The letters of one decision; none where nobody waits for an answer."""
    letters = []
    member = None if case.member_id is None else seats.get_member(session, case.member_id)
    if member is not None:
        write = _about_lora if case.kind == "adapter" else _to_member
        letters += write(settings, case, made, effect, member)
    report = reports.of_case(session, case.id)
    if report is not None:
        letters += _to_reporter(session, made, report)
    return tuple(letters)


def receipt(report: Report) -> Letter:
    """What somebody without an account gets for their report."""
    return Letter(
        report.contact,
        f"Your report {report.receipt}",
        "We have received your report and look at it within 48 hours.\n"
        f"Its number is {report.receipt}. You will hear what was decided at this address.\n\n"
        "If you did not report anything, somebody gave your address by mistake; nothing else\n"
        "will happen with it.\n",
    )


def appeal_received(settings: Settings, member: Member) -> Letter:
    """What a member gets for their appeal."""
    return Letter(
        member.email,
        "Your appeal was received",
        "A reviewer who had no part in the first decision answers it within 7 days.\n"
        f"You find its state at {settings.url}/refusals\n",
    )


def send(studio: Studio, letters: tuple[Letter, ...]) -> None:
    """Send what can be sent; what cannot is logged, since the page says the same."""
    if studio.settings.mail is None or not letters:
        return
    for problem in mail.send_all(studio.settings.mail, letters):
        if problem is not None:
            _log.warning("%s", problem)


def _to_member(
    settings: Settings, case: ReviewCase, made: Decision, effect: Effect, member: Member
) -> list[Letter]:
    where = f"\nYou find it at {settings.url}/refusals\n"
    said = f"\nThe reviewer’s reason: {made.reason}\n"  # noqa: RUF001
    if case.kind == "appeal":
        if made.action == "allow":
            words = "A second reviewer agrees with you: the refusal is taken back.\n"
            if effect == "released" and case.adapter_id is not None:
                words += "The team can use the LoRA.\n"
            elif effect == "released":
                words += "The picture is in your gallery. It was not charged and stays free.\n"
            return [Letter(member.email, "Your appeal was granted", words + said + where)]
        words = "A reviewer who had no part in the first decision looked again. It stands.\n"
        return [Letter(member.email, "Your appeal was answered", words + said + where)]
    if effect == "released":
        words = "A reviewer released a picture that the filter had held back.\n"
        words += "It is in your gallery. It was not charged and stays free.\n"
        return [Letter(member.email, "A picture was released", words + said + where)]
    if effect == "withheld":
        words = f"{policy_words.picture_sentence(made.category)}\n{said}"
        words += f"\nYou can appeal until {appeals.until(case):%-d %B %Y}.\n"
        return [Letter(member.email, "A picture of yours was taken back", words + where)]
    if case.kind == "abuse":
        allowed = made.action == "allow"
        words = "You can generate again.\n" if allowed else "You cannot generate for now.\n"
        return [Letter(member.email, "A reviewer looked at your refusals", words + said + where)]
    return []


def _about_lora(
    settings: Settings, case: ReviewCase, made: Decision, effect: Effect, member: Member
) -> list[Letter]:
    if effect == "none":
        return []
    rest = f"\nThe reviewer’s reason: {made.reason}\n"  # noqa: RUF001
    if made.action == "block":
        rest += f"\nYou can appeal until {appeals.until(case):%-d %B %Y}.\n"
    rest += f"\nYou find it at {settings.url}/loras\n"
    verb = "can be used" if made.action == "allow" else "cannot be used"
    words = f"A reviewer looked at a LoRA that you brought. It {verb}.\n"
    return [Letter(member.email, f"Your LoRA {verb}", words + rest)]


def _to_reporter(session: Session, made: Decision, report: Report) -> list[Letter]:
    address = report.contact
    if report.reporter_id is not None:
        reporter = seats.get_member(session, report.reporter_id)
        address = reporter.email if reporter is not None else ""
    if not address:
        return []
    words = (
        "We looked at your report and acted on it: what you named is no longer shown here.\n"
        if made.action == "block"
        else "We looked at your report. What we found here is not against the use policy.\n"
    )
    # Whether the picture was ever here is not said: the sentence is the same where it was not.
    if made.action == "allow" and report.source == "public":
        words = "We looked at your report. There is nothing here that we have to take down.\n"
    words += "\nAnswer to this mail if you think that this is wrong.\n" * bool(report.contact)
    return [Letter(address, f"Your report {report.receipt}", words)]
