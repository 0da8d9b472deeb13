"""What the review page shows: refused prompts and pictures, and those let through to be seen.

A case is one verdict of `licensing.moderation` with the person it was about and, for a picture that
was kept, its row. `access_picture` is the only way to such a picture: by its verdict, for a
reviewer of the same organisation. Reads only.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from inference.generations import Picture
from licensing.errors import NotFound
from licensing.moderation import Subject, Verdict
from licensing.seats import Member

CASES_ON_PAGE = 24  # as many pictures as somebody can look at without a pause


@dataclass(frozen=True)
class Case:
    """One verdict, ready to read; `is_kept` says whether its picture can be shown."""

    id: int
    subject: str
    action: str
    category: str | None
    score: float | None
    source: str
    excerpt: str
    at: datetime
    member: str
    email: str
    width: int
    height: int
    is_kept: bool


@dataclass(frozen=True)
class Choice:
    """What the reviewer wants to see; None is everything."""

    subject: Subject | None = None
    category: str | None = None


@dataclass(frozen=True)
class Counts:
    """How many cases there are of each kind, under the other choice."""

    prompts: int
    pictures: int
    categories: list[tuple[str, int]]


@dataclass(frozen=True)
class Cases:
    """A page of cases, newest first."""

    rows: list[Case]
    has_older: bool
    counts: Counts


def read_cases(
    session: Session, organisation_id: uuid.UUID, choice: Choice, *, before_id: int | None = None
) -> Cases:
    """Read the cases that fit `choice` and are older than `before_id`."""
    query = (
        select(Verdict, Member.name, Member.email, Picture.width, Picture.height, Picture.key)
        .join(Member, Member.id == Verdict.member_id)
        .outerjoin(Picture, _is_picture_of_verdict())
        .where(_to_review(organisation_id))
        .order_by(Verdict.id.desc())
        .limit(CASES_ON_PAGE + 1)
    )
    if choice.subject is not None:
        query = query.where(Verdict.subject == choice.subject)
    if choice.category is not None:
        query = query.where(Verdict.category == choice.category)
    if before_id is not None:
        query = query.where(Verdict.id < before_id)
    rows = [
        Case(
            id=verdict.id,
            subject=verdict.subject,
            action=verdict.action,
            category=verdict.category,
            score=verdict.score,
            source=verdict.source,
            excerpt=verdict.excerpt,
            at=verdict.at,
            member=name,
            email=email,
            width=width or 1,
            height=height or 1,
            is_kept=key is not None,
        )
        for verdict, name, email, width, height, key in session.execute(query)
    ]
    return Cases(
        rows=rows[:CASES_ON_PAGE],
        has_older=len(rows) > CASES_ON_PAGE,
        counts=_count(session, organisation_id, choice),
    )


def access_picture(session: Session, reviewer: Member, verdict_id: int) -> Picture:
    """Return the picture that a verdict was about, for a reviewer of its organisation.

    The caller has asked for the role. Raises `NotFound`: missing, kept nowhere, simply allowed and
    somebody else's all look the same.
    """
    query = (
        select(Picture)
        .join(Verdict, _is_picture_of_verdict())
        .where(_to_review(reviewer.organisation_id), Verdict.id == verdict_id)
    )
    picture = session.scalars(query).one_or_none()
    if picture is None or picture.key is None:
        raise NotFound("There is no such picture.")
    return picture


def category_name(category: str | None) -> str:
    """Write a category for people: `self-harm` as `Self-harm`."""
    return (category or "other").replace("_", " ").capitalize()


def _count(session: Session, organisation_id: uuid.UUID, choice: Choice) -> Counts:
    rows = session.execute(
        select(Verdict.subject, Verdict.category, func.count())
        .where(_to_review(organisation_id))
        .group_by(Verdict.subject, Verdict.category)
    ).all()
    subjects: dict[str, int] = {"prompt": 0, "image": 0}
    categories: dict[str, int] = {}
    for subject, category, count in rows:
        if choice.category in {None, category}:
            subjects[subject] += count
        if category is not None and choice.subject in {None, subject}:
            categories[category] = categories.get(category, 0) + count
    return Counts(
        prompts=subjects["prompt"],
        pictures=subjects["image"],
        categories=sorted(categories.items(), key=lambda pair: (-pair[1], pair[0])),
    )


def _to_review(organisation_id: uuid.UUID) -> ColumnElement[bool]:
    return and_(Verdict.organisation_id == organisation_id, Verdict.action != "allow")


def _is_picture_of_verdict() -> ColumnElement[bool]:
    return and_(
        Verdict.subject == "image",
        Picture.generation_id == Verdict.generation_id,
        Picture.index == Verdict.picture_index,
    )
