"""The tables `team` and `team_member`, which `licensing.teams` writes.

They stand apart from the verbs because a member's row names the team that pays, and `seats` has to
know the table.
"""

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from licensing.db import Base


class Team(Base):
    """A group of members whose pictures are billed together."""

    __tablename__ = "team"
    __table_args__ = (
        UniqueConstraint("id", "organisation_id"),
        Index(
            "ix_team_organisation_id_name_key",
            "organisation_id",
            "name_key",
            unique=True,
            postgresql_where=text("archived_at IS NULL"),
        ),
        Index(
            "ix_team_organisation_id_external_id",
            "organisation_id",
            "external_id",
            unique=True,
            postgresql_where=text("archived_at IS NULL"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    name: Mapped[str]
    name_key: Mapped[str]
    cost_centre: Mapped[str | None]
    external_id: Mapped[str | None]
    created_at: Mapped[datetime]
    archived_at: Mapped[datetime | None]


class TeamMember(Base):
    """A member belongs to a team."""

    __tablename__ = "team_member"
    __table_args__ = (
        ForeignKeyConstraint(["team_id", "organisation_id"], ["team.id", "team.organisation_id"]),
        ForeignKeyConstraint(
            ["member_id", "organisation_id"], ["member.id", "member.organisation_id"]
        ),
        Index("ix_team_member_member_id", "member_id"),
    )

    team_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    member_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID]
    added_at: Mapped[datetime]
