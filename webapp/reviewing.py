"""What a reviewer does with a case: look with a reason, decide, and whatever follows from it.

Each use-case is one transaction: the decision, the picture that is taken back or released, the
person who is suspended and the evidence that is locked are there together or not at all. Locks come
in the order organisation, lane, case. Files are read before it, letters are returned to be sent
after it, and copies of a blocked picture are taken back one by one behind it. Called by the review
page.
"""

import uuid
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from inference import events, fingerprints, holdback
from inference.holdback import Found
from inference.safety import pdq
from licensing import (
    adapters,
    block_list,
    cases,
    decisions,
    evidence,
    looks,
    reports,
    roster,
    seats,
)
from licensing.actors import Bench
from licensing.cases import ReviewCase
from licensing.decisions import Decision, Effect, InvalidDecision, Order
from licensing.errors import Conflict, NotFound
from licensing.looks import What
from licensing.moderation import Verdict
from licensing.reports import Target
from licensing.seats import Member
from webapp import account, bringing, review_letters
from webapp.mail import Letter
from webapp.studio import Studio


@dataclass(frozen=True)
class Done:
    """What a decision did: a sentence for the reviewer, and the letters to send."""

    sentence: str
    letters: tuple[Letter, ...]


def look(studio: Studio, reviewer: Member, case_id: int, what: What, reason: str) -> None:
    """Write down that a reviewer looks; committed when this returns, before anything is shown.

    Raises `NotFound`, `AccessNarrowed`, `ReasonNeeded`.
    """
    with studio.database.transaction() as session:
        case = cases.access(session, reviewer.organisation_id, case_id)
        looks.record(session, reviewer, case, what, reason=reason)


def tick(studio: Studio, reviewer: Member, case_id: int, step: str, note: str) -> None:
    """Tick a step of the checklist. Raises `NotFound`, `AccessNarrowed`, `Conflict`."""
    with studio.database.transaction() as session:
        case = cases.access(session, reviewer.organisation_id, case_id)
        evidence.tick(session, reviewer, case, step, note=note)


def decide(studio: Studio, reviewer: Member, case_id: int, order: Order) -> Done:
    """Decide a case, or reverse its decision, with all that the order asks for.

    Raises `NotFound`, `NotAllowed`, `SecondReviewerNeeded`, `AccessNarrowed`, `AlreadyDecided`,
    `InvalidDecision`, and `Conflict` where the member cannot be suspended.
    """
    hashes = _hashes(studio, reviewer, case_id) if order.blocks_hash else []
    with studio.database.transaction() as session:
        case = cases.access(session, reviewer.organisation_id, case_id)
        decisions.require_may_decide(session, reviewer, case)
        about = case
        if case.about_id is not None:
            about = cases.access(session, reviewer.organisation_id, case.about_id)
        if order.suspends:
            seats.lock(session, reviewer.organisation_id)
        found = holdback.find_all(session, about.generation_id, about.picture_index)
        for member_id in sorted({one.generation.member_id for one in found}):
            events.take_lane(session, member_id)
        effect = (
            _apply(session, about, found, order)
            if about.adapter_id is None
            else _apply_to_lora(session, about.adapter_id, reviewer, case, order)
        )
        own: Effect = effect if about is case else "none"
        others: Effect = "none" if about is case else effect
        made = decisions.decide(session, reviewer, case, order, effect=own)
        decisions.follow(session, reviewer, case, made, effect=others)
        if order.action == "block" and cases.is_narrowed(session, case):
            evidence.lock(session, about)
        for found_hash in hashes:
            _block(session, reviewer, case, order, found_hash[0])
        if order.suspends:
            _suspend(session, reviewer, case)
        letters = review_letters.after(session, studio.settings, case, made, effect)
    copies = _take_back_copies(studio, reviewer, case_id, hashes, order) if hashes else 0
    return Done(_sentence(case, made, effect, copies), letters)


def _apply(session: Session, about: ReviewCase, found: list[Found], order: Order) -> Effect:
    """Take pictures back or release them, as far as this case is what keeps them."""
    if order.action == "block":
        taken = [holdback.withhold(session, one) for one in found]
        return "withheld" if any(taken) else "none"
    was_taken = (
        about.decision_id is not None
        and session.get_one(Decision, about.decision_id).effect == "withheld"
    )
    if about.kind != "picture" and not was_taken:
        return "none"  # a report that is dismissed delivers nothing that the filter refused
    free = [one for one in found if not _is_kept_by_another(session, about, one)]
    released = [holdback.release(session, one) for one in free]
    return "released" if any(released) else "none"


def _apply_to_lora(
    session: Session, adapter_id: uuid.UUID, reviewer: Member, case: ReviewCase, order: Order
) -> Effect:
    """Let the team use a LoRA, or nobody: the reviewer's word stands in for the filter's."""
    is_changed = adapters.decide(
        session,
        adapter_id,
        order.action,
        reviewer_id=reviewer.id,
        case_id=case.id,
        reason=order.reason.strip(),
    )
    if not is_changed:
        return "none"
    return "withheld" if order.action == "block" else "released"


def _is_kept_by_another(session: Session, about: ReviewCase, found: Found) -> bool:
    """Whether another case about the same picture has it refused."""
    refused = exists().where(Verdict.id == ReviewCase.verdict_id, Verdict.action == "block")
    query = select(ReviewCase.id).where(
        ReviewCase.generation_id == found.generation.id,
        (ReviewCase.picture_index == found.picture.index) | ReviewCase.picture_index.is_(None),
        ReviewCase.id != about.id,
        ReviewCase.kind != "appeal",
        (ReviewCase.outcome == "block") | (ReviewCase.outcome.is_(None) & refused),
    )
    return session.scalars(query.limit(1)).first() is not None


def _hashes(studio: Studio, reviewer: Member, case_id: int) -> list[list[bytes]]:
    """The hashes, in all orientations, of what a case is about: of the picture, or as reported."""
    with studio.database.read() as session:
        case = cases.access(session, reviewer.organisation_id, case_id)
        found = holdback.find_all(session, case.generation_id, case.picture_index)
        report = reports.of_case(session, case_id)
    if not found and report is not None and report.pdq is not None:
        return [[report.pdq]]
    hashed = []
    for one in found:
        path = studio.storage.path(one.picture.key) if one.picture.key else None
        if path is not None and path.is_file():
            with Image.open(path) as image:
                hashed.append(pdq.fingerprint(image))
    usable = [[row.tobytes() for row in one.orientations] for one in hashed if one.is_usable]
    if not usable:
        raise InvalidDecision(
            "There is no hash to block: the picture is gone, or has too little in it to be told "
            "from others. Decide without it."
        )
    return usable


def _block(
    session: Session, reviewer: Member, case: ReviewCase, order: Order, found_hash: bytes
) -> None:
    block_list.block(
        session,
        organisation_id=reviewer.organisation_id,
        pdq=found_hash,
        category=order.category or case.category or "other",
        note=f"case {case.id}",
        added_by=reviewer.id,
    )


def _suspend(session: Session, reviewer: Member, case: ReviewCase) -> None:
    """Lock the person out, by the verb of the team page: sessions, keys and jobs end with it."""
    if case.member_id is None:
        raise Conflict("Nobody here is known to have made this, so nobody can be suspended.")
    member = roster.suspend(session, Bench(reviewer, case.id), case.member_id)
    account.shut_out(session, member)


def _take_back_copies(
    studio: Studio, reviewer: Member, case_id: int, hashes: list[list[bytes]], order: Order
) -> int:
    """Take the organisation's other copies of a blocked picture back, each with its own case."""
    with studio.database.read() as session:
        near = {id_ for group in hashes for id_ in fingerprints.find(session, group)}
    count = 0
    for picture_id in sorted(near):
        with studio.database.transaction() as session:
            target = target_of(session, picture_id)
            if target is None or target.organisation_id != reviewer.organisation_id:
                continue
            subject = target.subject
            (found,) = holdback.find_all(session, subject.generation_id, subject.picture_index)
            if found.picture.refused or subject.member_id == reviewer.id:
                continue
            holdback.withhold(session, found)
            copy = cases.open_case(
                session,
                target.organisation_id,
                "picture",
                category=order.category,
                subject=subject,
            )
            told = Order("block", order.category, order.reason, note=f"A copy of case {case_id}.")
            decisions.decide(session, reviewer, copy, told, effect="withheld")
            if cases.is_narrowed(session, copy):
                evidence.lock(session, copy)
            count += 1
    return count


def target_of(session: Session, picture_id: object) -> Target | None:
    """The picture that somebody names, as a report needs it; None if it is not one of ours."""
    row = holdback.by_id(session, picture_id)
    if row is None:
        return None
    subject = cases.Subject(row.generation.member_id, row.generation.id, row.picture.index)
    return Target(row.generation.organisation_id, row.picture.id, subject)


def only_picture(session: Session, reviewer: Member, case_id: int) -> tuple[ReviewCase, Found]:
    """Return a case and the one picture that it is about.

    Raises `NotFound`: no such case, none of the reviewer's, about no picture, or not kept.
    """
    case = cases.access(session, reviewer.organisation_id, case_id)
    found = holdback.find_all(session, case.generation_id, case.picture_index)
    if case.picture_index is None or not found or found[0].picture.key is None:
        raise NotFound("There is no such picture.")
    return case, found[0]


@dataclass(frozen=True)
class Exhibit:
    """The files of what a case is about: the whole, and a small one for its veil."""

    path: Path
    small: Path


def exhibit(
    studio: Studio, session: Session, reviewer: Member, case_id: int
) -> tuple[ReviewCase, Exhibit]:
    """Return a case and what can be seen of it: a picture, or the grid of a LoRA.

    Raises `NotFound` as `only_picture`.
    """
    case = cases.access(session, reviewer.organisation_id, case_id)
    if case.adapter_id is not None:
        grid = bringing.files_of(studio).grid(case.adapter_id)
        return case, Exhibit(grid, grid)
    case, found = only_picture(session, reviewer, case_id)
    picture, path = found.picture, studio.storage.path
    return case, Exhibit(path(picture.key or ""), path(picture.thumbnail_key or ""))


def _sentence(case: ReviewCase, made: Decision, effect: Effect, copies: int) -> str:
    words = {
        "withheld": "The picture is taken back.",
        "released": "The picture is in its maker’s gallery, free of charge.",  # noqa: RUF001
        "none": "",
    }[effect]
    if case.adapter_id is not None:
        who = {"withheld": "Nobody", "released": "The team"}.get(effect)
        words = f"{who} can use the LoRA." if who else ""
    said = [f"Case {case.id} is {'blocked' if made.action == 'block' else 'allowed'}.", words]
    if made.blocks_hash:
        also = (
            f" {copies} {'copy was' if copies == 1 else 'copies were'} taken back."
            if copies
            else ""
        )
        said.append(f"Its hash is on the block list.{also}")
    if made.suspends:
        said.append("The member is suspended.")
    return " ".join(word for word in said if word)
