"""The generation row, which is the truth about a job, and its pictures; how people reach them.

`create` is called in the transaction that also places the hold (`webapp.generate.submit`). Reads on
a person's behalf go through `access` and `access_picture`: what is somebody else's looks missing.
Every later change of state is in `inference.lifecycle`.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    UniqueConstraint,
    func,
    select,
    text,
    tuple_,
)
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship, selectinload

from inference import events, models
from inference.request import GenerationRequest, InvalidRequest, as_json, from_json, input_hash
from licensing.db import Base, now
from licensing.errors import AtelierError, Conflict, NotFound
from licensing.ledger import HOLD_LIFETIME
from licensing.prices import Quote
from licensing.seats import Member

State = Literal["queued", "running", "finished", "failed", "cancelled", "refused"]
IN_FLIGHT: tuple[State, ...] = ("queued", "running")

IN_FLIGHT_MAX = 8  # a member's; one person's batch must not become everybody's queue
RUNNING_MAX = timedelta(minutes=30)  # 4 pictures of 52 steps at 1K on the slowest GPU, with room
# Both attempts at a job end while its money is still held, so that holds never expire under one.
QUEUED_MAX = HOLD_LIFETIME - 2 * RUNNING_MAX - timedelta(hours=1)
KEY_CHARACTERS_MAX = 200  # an idempotency key is a UUID or a client's own short name


class TooManyInFlight(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The member has as many generations waiting and running as one seat may have."""

    code: ClassVar[str] = "too_many_in_flight"
    status: ClassVar[int] = 429


class Generation(Base):
    """One request on its way: queued -> running -> finished, failed, cancelled or refused.

    `worker` and `attempts` together name the one attempt that may still change a running row.
    """

    __tablename__ = "generation"
    __table_args__ = (
        UniqueConstraint("member_id", "idempotency_key"),
        CheckConstraint(
            "state IN ('queued', 'running', 'finished', 'failed', 'cancelled', 'refused')",
            name="state",
        ),
        CheckConstraint("images > 0", name="images"),
        CheckConstraint("char_length(project) BETWEEN 1 AND 64", name="project"),
        CheckConstraint("price_micros >= 0", name="price"),
        CheckConstraint(
            "charged_micros BETWEEN 0 AND price_micros"
            " AND (charged_micros = 0 OR state = 'finished')",
            name="charged",
        ),
        Index("ix_generation_member_id_created_at_id", "member_id", "created_at", "id"),
        Index(
            "ix_generation_starred",
            "member_id",
            "created_at",
            "id",
            postgresql_where=text("starred_at IS NOT NULL"),
        ),
        Index(
            "ix_generation_in_flight",
            "state",
            "worker_class",
            "created_at",
            postgresql_where=text("state IN ('queued', 'running')"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    member_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("member.id"))
    request: Mapped[dict[str, Any]]
    model: Mapped[str]
    worker_class: Mapped[str]
    images: Mapped[int]
    idempotency_key: Mapped[str]
    input_hash: Mapped[str]
    price_micros: Mapped[int]  # held: the most that this can cost
    price_version: Mapped[str]
    price_class: Mapped[str | None]  # None on rows from before there were classes
    project: Mapped[str | None]  # the member's tag for the bill
    team_id: Mapped[uuid.UUID | None]  # who pays inside the organisation, as at submit
    api_key_id: Mapped[uuid.UUID | None]  # None: made on the page
    charged_micros: Mapped[int] = mapped_column(default=0)  # settled: delivered pictures only
    state: Mapped[str] = mapped_column(default="queued")
    worker: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime]  # when the broker last got its number
    started_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    steps_done: Mapped[int] = mapped_column(default=0)
    steps_total: Mapped[int] = mapped_column(default=0)
    starred_at: Mapped[datetime | None]  # its maker marked it as one to keep

    pictures: Mapped[list["Picture"]] = relationship(lazy="raise", order_by="Picture.index")

    @property
    def asked(self) -> GenerationRequest:
        """The request as it was made, with its seed."""
        return from_json(self.request)

    @property
    def is_erased(self) -> bool:
        """Whether pictures and prompt were deleted; the row stays, because money refers to it."""
        return not self.input_hash


class Picture(Base):
    """One picture that was made. A refused one is kept for reviewers alone (`access_picture`)."""

    __tablename__ = "picture"
    __table_args__ = (
        UniqueConstraint("generation_id", "index"),
        CheckConstraint(
            "(key IS NULL) = (thumbnail_key IS NULL) AND (refused OR key IS NOT NULL)",
            name="refused",
        ),
        Index("ix_picture_sha256", "sha256"),  # a reported file is looked up by it
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    generation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("generation.id"))
    index: Mapped[int]
    seed: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    key: Mapped[str | None]
    thumbnail_key: Mapped[str | None]
    sha256: Mapped[str | None]
    created_at: Mapped[datetime]
    refused: Mapped[bool] = mapped_column(default=False)


def create(
    session: Session,
    *,
    request: GenerationRequest,
    member: Member,
    quote: Quote,
    idempotency_key: str,
    project: str | None = None,
    api_key_id: uuid.UUID | None = None,
) -> tuple[Generation, bool]:
    """Queue the request; return its row and whether this call made it (then place the hold).

    The same key with the same choices returns the first row, with its pictures. Call it before the
    hold: it takes the member's lane, which comes before wallets. The member's team, as it is now,
    pays.
    Raises `Conflict` (key used for other choices), `TooManyInFlight`, `InvalidRequest` (key).
    """
    if not 1 <= len(idempotency_key) <= KEY_CHARACTERS_MAX or not idempotency_key.isprintable():
        raise InvalidRequest(
            "idempotency_key",
            f"The idempotency key must be 1 to {KEY_CHARACTERS_MAX} printable characters.",
        )
    events.take_lane(session, member.id)
    hashed = input_hash(request)
    earlier = session.scalar(
        select(Generation)
        .where(Generation.member_id == member.id, Generation.idempotency_key == idempotency_key)
        .options(selectinload(Generation.pictures))  # it may have finished meanwhile
    )
    if earlier is not None:
        if earlier.input_hash != hashed or earlier.project != project:
            raise Conflict("This idempotency key was already used for another request.")
        return earlier, False
    if len(active(session, member)) >= IN_FLIGHT_MAX:
        raise TooManyInFlight(
            f"{IN_FLIGHT_MAX} of your generations are waiting or running, which is the limit. "
            "Wait for one to finish or cancel one."
        )
    model = models.find(request.model)
    moment = now()
    generation = Generation(
        id=uuid.uuid4(),
        organisation_id=member.organisation_id,
        member_id=member.id,
        request=as_json(request),
        model=request.model,
        worker_class=model.worker_class,
        images=request.images,
        idempotency_key=idempotency_key,
        input_hash=hashed,
        price_micros=quote.total_micros,
        price_version=quote.price_version,
        price_class=quote.price_class,
        project=project,
        team_id=member.team_id,
        api_key_id=api_key_id,
        created_at=moment,
        sent_at=moment,
        steps_total=request.images * model.steps,
    )
    session.add(generation)
    session.flush()
    events.emit(
        session,
        generation_id=generation.id,
        member_id=member.id,
        kind="queued",
        data={"position": queue_position(session, generation.id)},
    )
    return generation, True


def access(session: Session, member: Member, generation_id: uuid.UUID) -> Generation:
    """Return the member's own generation with its pictures. Raises `NotFound`."""
    generation = session.scalar(
        select(Generation)
        .where(Generation.id == generation_id, Generation.member_id == member.id)
        .options(selectinload(Generation.pictures))
    )
    if generation is None:
        raise NotFound("There is no such generation.")
    return generation


def access_picture(session: Session, member: Member, picture_id: uuid.UUID) -> Picture:
    """Return a picture of the member's own that was delivered. Raises `NotFound`."""
    picture = session.scalar(
        select(Picture)
        .join(Generation, Generation.id == Picture.generation_id)
        .where(
            Picture.id == picture_id,
            Picture.refused.is_(False),
            Generation.member_id == member.id,
        )
    )
    if picture is None:
        raise NotFound("There is no such picture.")
    return picture


def active(session: Session, member: Member) -> Sequence[Generation]:
    """Return the member's waiting and running generations, oldest first."""
    return session.scalars(
        select(Generation)
        .where(Generation.member_id == member.id, Generation.state.in_(IN_FLIGHT))
        .order_by(Generation.created_at, Generation.id)
    ).all()


def queue_position(session: Session, generation_id: uuid.UUID) -> int:
    """Return its place among the waiting ones of its worker class: 1 is next, 0 not waiting."""
    own = (
        select(Generation.worker_class, Generation.created_at, Generation.id)
        .where(Generation.id == generation_id, Generation.state == "queued")
        .subquery()
    )
    ahead = select(func.count()).select_from(
        select(Generation.id)
        .where(Generation.state == "queued", Generation.worker_class == own.c.worker_class)
        .where(tuple_(Generation.created_at, Generation.id) <= tuple_(own.c.created_at, own.c.id))
        .subquery()
    )
    return session.scalar(ahead) or 0
