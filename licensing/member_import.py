"""Members from a file: read a CSV, say of every line what it would do, then do it whole.

`plan` is the dry run and writes nothing; `carry_out` takes the organisation's lock, plans again and
invites everybody, or nobody if one line is wrong. A line for somebody who is invited or a member
already does nothing, so that a longer file can be sent again. Called by `webapp.account`.
"""

import csv
import io
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from licensing import actors, invites, seat_days, seat_history, seats, teams
from licensing.db import now
from licensing.errors import AtelierError
from licensing.invites import Invite
from licensing.seats import Member, Role, SeatUsage
from licensing.team_tables import Team

FILE_BYTES_MAX = 256 * 1024  # a thousand lines of names and addresses
LINES_MAX = 1_000  # people that one reads through before pressing the button

COLUMNS = ("email", "role", "seat", "team")
_YES = frozenset({"yes", "y", "true", "1"})
_NO = frozenset({"no", "n", "false", "0"})

Outcome = Literal["invite", "skip", "error"]


class ImportRefused(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The file as a whole cannot be read, or lines of it are wrong; then `plan` says which."""

    code = "import_refused"
    status = 422

    def __init__(self, message: str, plan: "ImportPlan | None" = None) -> None:
        """Keep what was found, for the page to show line by line."""
        self.plan = plan
        super().__init__(message)


@dataclass(frozen=True)
class ImportLine:
    """One line of the file, by its number in it, and what becomes of it."""

    number: int
    email: str
    role: Role
    seated: bool
    team: str
    team_id: uuid.UUID | None
    outcome: Outcome
    sentence: str


@dataclass(frozen=True)
class ImportPlan:
    """What a file would do. `ignored` names its columns that mean nothing here."""

    lines: tuple[ImportLine, ...]
    seats: SeatUsage
    ignored: tuple[str, ...]

    def count(self, outcome: Outcome) -> int:
        """Count the lines with an outcome."""
        return sum(line.outcome == outcome for line in self.lines)

    @property
    def seats_wanted(self) -> int:
        """Seats that its invites would hold."""
        return sum(line.seated for line in self.lines if line.outcome == "invite")


def plan(session: Session, actor: Member, content: bytes) -> ImportPlan:
    """Say what the file would do now; nothing is written. Raises `ImportRefused`."""
    rows, ignored = _read(content)
    known = _Known.of(session, actor.organisation_id)
    lines: list[ImportLine] = []
    seen: dict[str, int] = {}
    for number, row in rows:
        line = _judge(row, number, actor, known)
        if line.outcome != "error" and line.email in seen:
            line = _wrong(line, f"{line.email} stands in line {seen[line.email]} already.")
        seen.setdefault(line.email, number)
        lines.append(line)
    usage = seats.seat_usage(session, actor.organisation_id)
    return ImportPlan(tuple(_within_seats(lines, usage.left)), usage, ignored)


def carry_out(
    session: Session, actor: Member, content: bytes
) -> tuple[ImportPlan, list[tuple[Invite, str]]]:
    """Invite everybody in the file; returns the plan, and each invite with its token.

    Raises `ImportRefused` with the plan, and nothing is written, if any line is wrong.
    """
    actor = actors.require_admin(session, actor)
    planned = plan(session, actor, content)
    wrong = planned.count("error")
    if wrong:
        noun = "line is" if wrong == 1 else "lines are"
        raise ImportRefused(f"{wrong} {noun} wrong, so nobody was invited.", planned)
    made = [
        invites.prepare(
            actor, email=line.email, role=line.role, seated=line.seated, team_id=line.team_id
        )
        for line in planned.lines
        if line.outcome == "invite"
    ]
    invites.require_few(session, actor.organisation_id, len(made))
    session.add_all(invite for invite, _ in made)
    taken = planned.seats.taken
    for invite, _ in made:
        taken += invite.seated
        seat_history.write(
            session,
            actor.organisation_id,
            "invited",
            actor_id=actor.id,
            member_id=None,
            detail=invite.email,
            seats_taken=taken,
        )
    seat_days.rise(session, actor.organisation_id, taken, now())
    session.flush()
    return planned, made


@dataclass(frozen=True)
class _Known:
    """What the organisation has already, so that a line needs no query of its own."""

    members: frozenset[str]
    invited: frozenset[str]
    teams: Mapping[str, Team]

    @classmethod
    def of(cls, session: Session, organisation_id: uuid.UUID) -> "_Known":
        members = select(Member.email).where(
            Member.organisation_id == organisation_id, Member.status != "removed"
        )
        return cls(
            members=frozenset(session.scalars(members)),
            invited=frozenset(each.email for each in invites.invites(session, organisation_id)),
            teams={team.name_key: team for team in teams.teams(session, organisation_id)},
        )


def _read(content: bytes) -> tuple[list[tuple[int, dict[str, str]]], tuple[str, ...]]:
    """Return the rows with their line numbers, and the columns that mean nothing here."""
    text = _decode(content)
    first = text.lstrip("\r\n").partition("\n")[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, [cell.strip() for cell in cells]))
            if len(rows) > LINES_MAX + 1:
                raise ImportRefused(f"Send at most {LINES_MAX:,} people at once.")
    except csv.Error as error:
        raise ImportRefused(f"Line {reader.line_num} cannot be read: {error}.") from error
    if not rows:
        raise ImportRefused("The file is empty. Its first line names the columns: email, role.")
    header = [name.strip().lower() for name in rows[0][1]]
    twice = [name for name, count in Counter(header).items() if name in COLUMNS and count > 1]
    if "email" not in header or twice:
        raise ImportRefused(
            "The first line has to name the columns, and `email` among them once. "
            f"It may also name {', '.join(COLUMNS[1:])}."
        )
    named = [
        (number, dict(zip(header, [*cells, *[""] * len(header)], strict=False)))
        for number, cells in rows[1:]
    ]
    if not named:
        raise ImportRefused("The file names columns and nobody below them.")
    return named, tuple(name for name in header if name and name not in COLUMNS)


def _decode(content: bytes) -> str:
    if len(content) > FILE_BYTES_MAX:
        raise ImportRefused(f"The file is larger than {FILE_BYTES_MAX // 1024} KiB.")
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise ImportRefused("Save the file as CSV in UTF-8 and send it again.") from error
    if "\0" in text:
        raise ImportRefused("This is not a CSV file.")
    return text


def _judge(row: Mapping[str, str], number: int, actor: Member, known: _Known) -> ImportLine:
    line = ImportLine(
        number=number,
        email=row["email"][: invites.EMAIL_CHARACTERS_MAX],
        role=Role.CREATOR,
        seated=False,
        team=row.get("team", "")[: teams.NAME_CHARACTERS_MAX],
        team_id=None,
        outcome="invite",
        sentence="",
    )
    try:
        line = replace(line, email=invites.read_address(row["email"]))
    except invites.InvalidEmail as error:
        return _wrong(line, error.message)
    role = row.get("role", "").lower() or Role.CREATOR
    if role not in set(Role):
        return _wrong(line, f"There is no role “{role[:40]}”. Write {', '.join(Role)}.")
    line = replace(line, role=Role(role))
    if line.role == Role.OWNER and actor.role != Role.OWNER:
        return _wrong(line, "Only an owner can invite an owner.")
    seat = row.get("seat", "").lower() or ("yes" if line.role == Role.CREATOR else "no")
    if seat not in _YES | _NO:
        return _wrong(line, f"“{seat[:40]}” in the column seat: write yes or no.")
    line = replace(line, seated=seat in _YES)
    if line.team:
        team = known.teams.get(" ".join(line.team.split()).casefold())
        if team is None:
            return _wrong(line, f"There is no team “{line.team}”. Found it first.")
        line = replace(line, team=team.name, team_id=team.id)
    return _compare(line, known)


def _compare(line: ImportLine, known: _Known) -> ImportLine:
    if line.email in known.members:
        return replace(line, outcome="skip", seated=False, sentence="Is a member already.")
    if line.email in known.invited:
        return replace(line, outcome="skip", seated=False, sentence="Is invited already.")
    with_seat = "with a seat" if line.seated else "without a seat"
    return replace(line, sentence=f"Is invited as {line.role}, {with_seat}.")


def _within_seats(lines: list[ImportLine], left: int) -> list[ImportLine]:
    """Mark the lines for which no seat is left, in the order of the file."""
    wanted = sum(line.seated for line in lines if line.outcome == "invite")
    judged = []
    for line in lines:
        if line.outcome == "invite" and line.seated:
            left -= 1
            if left < 0:
                line = _wrong(  # noqa: PLW2901 - the line as it is judged now
                    line,
                    f"No seat is left for this line: the file needs {wanted}. Write no in the "
                    "column seat, or buy more seats under /team?view=plan.",
                )
        judged.append(line)
    return judged


def _wrong(line: ImportLine, sentence: str) -> ImportLine:
    return replace(line, outcome="error", seated=False, sentence=sentence)
