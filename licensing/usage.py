"""What was used: one line for each settled generation, written in the settling transaction.

Owns the append-only table `usage_line`. Bills read these lines and nothing else. A line copies the
names of the member, team and API key as they were, so that a bill of last year does not change with
a marriage. What turns out wrong is put right by a line of its own, in the month that is open then.

The database keeps two promises beside the verbs here, whoever writes: a line dated into a sealed
month moves to the first moment of the open one, and `usage_day` (`licensing.usage_sums`) has the
line's figures added. The second one locks a row of that table until the commit; it may be locked
before the wallet, as settlements do, because corrections, which come after it, have other rows.
"""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from licensing.db import Base
from licensing.errors import NotFound

REASON_CHARACTERS_MAX = 500  # as long as a ledger's note


def record(
    session: Session,
    *,
    generation_id: uuid.UUID,
    organisation_id: uuid.UUID,
    member_id: uuid.UUID,
    model: str,
    images: int,
    width: int,
    height: int,
    amount_micros: int,
    price_version: str,
    price_class: str | None = None,
    unit_price_micros: int | None = None,
    project: str | None = None,
    team_id: uuid.UUID | None = None,
    api_key_id: uuid.UUID | None = None,
    at: datetime | None = None,
) -> None:
    """Write the line of a generation whose hold this transaction settles.

    `images` are the delivered ones at `unit_price_micros` each, `width` and `height` pixels,
    `team_id` the team that pays, `at` the time of settlement: by the database's clock when it is
    left out, so that hosts need not agree about midnight. A second line for one generation is the
    database's `IntegrityError`: a fault, never a retry.
    """
    values = {
        "generation_id": generation_id,
        "organisation_id": organisation_id,
        "member_id": member_id,
        "model": model,
        "images": images,
        "width": width,
        "height": height,
        "amount_micros": amount_micros,
        "price_version": price_version,
        "price_class": price_class,
        "unit_price_micros": unit_price_micros,
        "project": project,
        "team_id": team_id,
        "api_key_id": api_key_id,
        "at": at,
    }
    written = session.execute(_RECORD, values).one_or_none()
    assert written is not None, "a usage line needs a member of the organisation"


def correct(
    session: Session,
    *,
    generation_id: uuid.UUID,
    amount_micros: int,
    reason: str,
    author_id: uuid.UUID | None,
    transfer_id: int | None = None,
    at: datetime | None = None,
) -> "UsageLine":
    """Take `amount_micros` (negative) off a generation's line, by a line in the month open now.

    It points at the original and copies what that is grouped by. `transfer_id` is the ledger's
    refund, which can be the cause of one line only. Raises `NotFound` for a generation without a
    line, `ValueError` for an amount that is not negative or for more than the line still has.
    """
    if type(amount_micros) is not int or amount_micros >= 0:
        raise ValueError(f"a correction takes something away; {amount_micros!r} micros does not")
    if len(reason) > REASON_CHARACTERS_MAX:
        raise ValueError(f"a reason has at most {REASON_CHARACTERS_MAX} characters")
    # Two corrections of one line at once: the second one counts the first.
    original = session.scalars(
        select(UsageLine)
        .where(UsageLine.generation_id == generation_id, UsageLine.kind == "usage")
        .with_for_update()
    ).one_or_none()
    if original is None:
        raise NotFound("Nothing was charged for this generation.")
    left_micros = session.execute(_LEFT, {"id": original.id}).scalar_one()
    if left_micros + amount_micros < 0:
        raise ValueError(f"line {original.id} has {left_micros} micros left to take away")
    values = {
        "id": original.id,
        "amount_micros": amount_micros,
        "reason": reason,
        "author_id": author_id,
        "transfer_id": transfer_id,
        "at": at,
    }
    made: UsageLine = session.scalars(select(UsageLine).from_statement(_CORRECT), values).one()
    return made


class UsageLine(Base):
    """One settled generation, or what was taken off one later. Append-only.

    The generation's hold leads to the transfer that paid; a correction names its refund itself, in
    `transfer_id`, which has no foreign key: neither row is ever deleted.
    """

    __tablename__ = "usage_line"
    __table_args__ = (
        CheckConstraint("images >= 0 AND width > 0 AND height > 0", name="counts"),
        CheckConstraint("kind IN ('usage', 'correction')", name="kind"),
        CheckConstraint("(kind = 'correction') = (amount_micros < 0)", name="amount"),
        CheckConstraint(
            "(kind = 'correction') = (corrects_id IS NOT NULL)"
            " AND (kind = 'correction') = (reason IS NOT NULL)",
            name="correction",
        ),
        CheckConstraint("unit_price_micros >= 0", name="unit_price"),
        Index("ix_usage_line_organisation_id_at", "organisation_id", "at", "id"),
        Index(
            "uq_usage_line_generation_id",
            "generation_id",
            unique=True,
            postgresql_where=text("kind = 'usage'"),
        ),
        Index(
            "ix_usage_line_corrects_id",
            "corrects_id",
            postgresql_where=text("corrects_id IS NOT NULL"),
        ),
        Index(
            "uq_usage_line_correction_transfer_id",
            "transfer_id",
            unique=True,
            postgresql_where=text("kind = 'correction'"),
        ),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    kind: Mapped[str] = mapped_column(server_default=text("'usage'"))
    generation_id: Mapped[uuid.UUID]
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    member_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("member.id"))
    member_name: Mapped[str]
    member_email: Mapped[str]
    team_id: Mapped[uuid.UUID | None]
    team_name: Mapped[str | None]
    cost_centre: Mapped[str | None]
    project: Mapped[str | None]
    api_key_id: Mapped[uuid.UUID | None]
    api_key_name: Mapped[str | None]
    model: Mapped[str]
    price_class: Mapped[str | None]
    images: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    unit_price_micros: Mapped[int | None]
    amount_micros: Mapped[int]
    price_version: Mapped[str]
    transfer_id: Mapped[int | None]
    corrects_id: Mapped[int | None] = mapped_column(ForeignKey("usage_line.id"))
    reason: Mapped[str | None]
    author_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("member.id"))
    at: Mapped[datetime]


_RECORD = text(
    """
    INSERT INTO usage_line (generation_id, organisation_id, member_id, member_name, member_email,
                            team_id, team_name, cost_centre, project, api_key_id, api_key_name,
                            model, price_class, images, width, height, unit_price_micros,
                            amount_micros, price_version, at)
    SELECT :generation_id, member.organisation_id, member.id, member.name, member.email,
           team.id, team.name, team.cost_centre, CAST(:project AS text), CAST(:api_key_id AS uuid),
           (SELECT api_key.name FROM api_key WHERE api_key.id = CAST(:api_key_id AS uuid)),
           :model, CAST(:price_class AS text), :images, :width, :height,
           CAST(:unit_price_micros AS bigint), :amount_micros, :price_version,
           coalesce(CAST(:at AS timestamptz), clock_timestamp())
      FROM member
      LEFT JOIN team ON team.id = CAST(:team_id AS uuid)
                    AND team.organisation_id = member.organisation_id
     WHERE member.id = :member_id AND member.organisation_id = :organisation_id
    RETURNING id
    """
)

_LEFT = text(
    "SELECT sum(amount_micros)::bigint FROM usage_line WHERE id = :id OR corrects_id = :id"
)

_CORRECT = text(
    """
    INSERT INTO usage_line (kind, corrects_id, reason, author_id, generation_id, organisation_id,
                            member_id, member_name, member_email, team_id, team_name, cost_centre,
                            project, api_key_id, api_key_name, model, price_class, images, width,
                            height, unit_price_micros, amount_micros, price_version, transfer_id,
                            at)
    SELECT 'correction', id, :reason, CAST(:author_id AS uuid), generation_id, organisation_id,
           member_id, member_name, member_email, team_id, team_name, cost_centre,
           project, api_key_id, api_key_name, model, price_class, 0, width,
           height, unit_price_micros, :amount_micros, price_version, CAST(:transfer_id AS bigint),
           coalesce(CAST(:at AS timestamptz), clock_timestamp())
      FROM usage_line WHERE id = :id
    RETURNING *
    """
)
