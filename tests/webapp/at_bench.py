"""What stands before a reviewer: cases of each kind, made the way the studio makes them."""

import io
import re
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from email.message import EmailMessage

import httpx2
import numpy as np
from atelier_at_work import Work, agree, open_work
from desks import Desks, add_desks
from factories import member, team
from PIL import Image
from post_office import PostOffice
from sqlalchemy import select

from inference import fingerprints
from inference.generations import Generation
from inference.storage import picture_key, thumbnail_key
from licensing import moderation
from licensing.cases import ReviewCase
from licensing.moderation import Action, Verdict
from licensing.seats import Member, Role

LETTERS_SECONDS_MAX = 20.0  # a busy machine; a test that passes waits for milliseconds


@dataclass(frozen=True)
class Bench:
    """A team at work, with a second reviewer."""

    desks: Desks
    work: Work
    second: Member

    def ask(self, role: str) -> httpx2.Client:
        """Return a client signed in as the team's member of a role, or as the second reviewer."""
        who = self.second if role == "second" else getattr(self.desks.team, role)
        return self.desks.ask(who)

    @property
    def creator(self) -> Member:
        return self.desks.team.creator

    @property
    def reviewer(self) -> Member:
        return self.desks.team.reviewer


def open_bench(stack: ExitStack, environ: dict[str, str]) -> Bench:
    running = open_work(stack, environ).running
    add_desks(running)
    desks = Desks(running, team(running.database))
    with running.database.transaction() as session:
        organisation = desks.team.organisation
        second = member(session, organisation, Role.REVIEWER, name="Sena Second", seated=False)
    work = Work(running, desks.team.creator)
    agree(work, work.member)
    return Bench(desks, work, second)


def words(answer: httpx2.Response) -> str:
    """Return what a person reads."""
    assert answer.status_code == 200, answer.text
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def refuse_prompt(
    work: Work, member: Member, excerpt: str, category: str = "hate", action: Action = "block"
) -> ReviewCase:
    """Record what the rules said to a prompt; return its case."""
    with work.running.database.transaction() as session:
        verdict = moderation.record(
            session,
            organisation_id=member.organisation_id,
            member_id=member.id,
            generation_id=None,
            subject="prompt",
            action=action,
            category=category,
            source="rules:test",
            excerpt=excerpt,
        )
    return case_of(work, verdict)


def judge(
    work: Work, job: Generation, index: int, action: Action, category: str = "sexual"
) -> ReviewCase:
    """Record what the worker's filter said to one picture; return its case."""
    with work.running.database.transaction() as session:
        verdict = moderation.record(
            session,
            organisation_id=job.organisation_id,
            member_id=job.member_id,
            generation_id=job.id,
            picture_index=index,
            subject="image",
            action=action,
            category=category,
            score=0.93,
            source="classifier:test",
            excerpt=job.asked.prompt,
        )
    return case_of(work, verdict)


def refused_picture(work: Work, category: str = "sexual") -> tuple[Generation, ReviewCase]:
    """Make two pictures, of which the filter refuses the second."""
    job = work.finish(work.claim(work.submit(images=2)), refused=[1])
    return job, judge(work, job, 1, "block", category)


def case_of(work: Work, verdict: Verdict) -> ReviewCase:
    with work.running.database.read() as session:
        return session.scalars(select(ReviewCase).where(ReviewCase.verdict_id == verdict.id)).one()


def read(work: Work, case: ReviewCase | int) -> ReviewCase:
    wanted = case if isinstance(case, int) else case.id
    with work.running.database.read() as session:
        return session.scalars(select(ReviewCase).where(ReviewCase.id == wanted)).one()


def open_cases(work: Work, kind: str) -> Sequence[ReviewCase]:
    with work.running.database.read() as session:
        return session.scalars(
            select(ReviewCase)
            .where(ReviewCase.kind == kind, ReviewCase.outcome.is_(None))
            .order_by(ReviewCase.id)
        ).all()


def look(client: httpx2.Client, case: ReviewCase, what: str = "picture") -> httpx2.Response:
    data = {"what": what, "reason": "To decide this case"}
    return client.post(f"/review/cases/{case.id}/look", data=data)


def decide(
    client: httpx2.Client, case: ReviewCase, action: str, **fields: object
) -> httpx2.Response:
    seen = "" if case.decision_id is None else str(case.decision_id)
    data = {"action": action, "category": "sexual", "reason": "As the policy says.", "seen": seen}
    return client.post(f"/review/cases/{case.id}/decide", data={**data, **fields})


def textured(seed: int = 7, side: int = 256) -> Image.Image:
    """A picture with enough in it to be told from others."""
    small = np.random.default_rng(seed).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def draw_on(work: Work, job: Generation, index: int, image: Image.Image) -> None:
    """Put another picture where a made one lies."""
    picture = job.pictures[index]
    storage = work.running.studio.storage
    storage.put(picture_key(picture.id), file_of(image))
    storage.put(thumbnail_key(picture.id), file_of(image.resize((192, 192)), "WEBP"))


def hash_pictures(work: Work) -> int:
    """Hash what is there, as the beat does."""
    return fingerprints.hash_new(work.running.database, work.running.studio.storage)


def file_of(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def letters(office: PostOffice, count: int) -> list[EmailMessage]:
    """Return the letters once so many have come: they are sent behind the answer."""
    deadline = time.monotonic() + LETTERS_SECONDS_MAX
    waiting = threading.Event()
    while len(office.letters) < count and time.monotonic() < deadline:
        waiting.wait(0.01)
    assert len(office.letters) == count
    return office.letters
