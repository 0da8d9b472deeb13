"""What was refused, reported, appealed and decided in a month, in numbers without persons.

Owns no table. It counts rows of append-only tables by the time at which they were written, so that
a month that has ended says the same for ever: a later reversal counts in its own month. For one
organisation, or for the whole studio. Called by the review page and by `atelier transparency`.
"""

import csv
import io
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from licensing.errors import AtelierError

MONTHS_MAX = 36  # on the page's list

COLUMNS = ("month", "section", "what", "category", "source", "action", "count", "value")


class InvalidMonth(AtelierError):  # noqa: N818 - reads as the answer that it is
    """What was asked for is no month."""

    code = "invalid_month"
    status = 422


@dataclass(frozen=True)
class Line:
    """One number. `value` is hours or a share where that is meant, else None."""

    section: str
    what: str
    count: int
    category: str = ""
    source: str = ""
    action: str = ""
    value: float | None = None


@dataclass(frozen=True)
class Month:
    """A calendar month in UTC: `starts_at` is in it, `ends_at` is not."""

    starts_at: datetime
    ends_at: datetime

    @property
    def name(self) -> str:
        """As `2026-11`."""
        return f"{self.starts_at:%Y-%m}"

    def is_over(self, moment: datetime) -> bool:
        """Whether nothing more can be counted in it."""
        return moment >= self.ends_at


@dataclass(frozen=True)
class Transparency:
    """A month's numbers."""

    month: Month
    lines: list[Line]

    def section(self, name: str) -> list[Line]:
        """The lines of one section, in their order."""
        return [line for line in self.lines if line.section == name]

    def total(self, section: str, **wanted: str) -> int:
        """Add the counts of a section's lines that have the wanted words."""
        return sum(
            line.count
            for line in self.section(section)
            if all(getattr(line, name) == value for name, value in wanted.items())
        )


def month(words: str) -> Month:
    """Read `2026-11`. Raises `InvalidMonth`."""
    try:
        starts_at = datetime.strptime(words, "%Y-%m").replace(tzinfo=UTC)
        later = starts_at.month == 12  # noqa: PLR2004 - December
        ends_at = starts_at.replace(
            year=starts_at.year + later, month=1 if later else starts_at.month + 1
        )
    except ValueError as error:
        raise InvalidMonth("Write the month like 2026-11.") from error
    return Month(starts_at, ends_at)


def months(session: Session, organisation_id: uuid.UUID, moment: datetime) -> list[str]:
    """The months from the organisation's first verdict or case to now, newest first."""
    row = session.execute(
        text("SELECT created_at FROM organisation WHERE id = :id"), {"id": organisation_id}
    ).one()
    at, names = moment.astimezone(UTC), list[str]()
    while (at.year, at.month) >= (row.created_at.year, row.created_at.month):
        names.append(f"{at:%Y-%m}")
        earlier = at.month == 1
        at = at.replace(year=at.year - earlier, month=12 if earlier else at.month - 1, day=1)
        if len(names) == MONTHS_MAX:
            break
    return names


def read(session: Session, chosen: Month, organisation_id: uuid.UUID | None) -> Transparency:
    """Count a month for an organisation; None counts the whole studio."""
    values: dict[str, Any] = {
        "starts_at": chosen.starts_at,
        "ends_at": chosen.ends_at,
        "organisation_id": organisation_id,
    }
    lines: list[Line] = []
    for statement in (_VERDICTS, _REPORTS, _APPEALS, _DECISIONS, _TIMES, _LOOKS):
        for row in session.execute(statement, values):
            fields = row._asdict()
            if fields.get("value") is not None:
                fields["value"] = round(float(fields["value"]), 2)
            lines.append(Line(**fields))
    return Transparency(chosen, lines)


def as_csv(found: Transparency) -> str:
    """Write the numbers as RFC 4180 CSV; no cell begins like a formula."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for line in found.lines:
        words = (line.section, line.what, line.category, line.source, line.action)
        value = "" if line.value is None else f"{line.value:.2f}"
        writer.writerow((found.month.name, *map(_plain, words), line.count, value))
    return file.getvalue()


def _plain(words: str) -> str:
    """Keep a word of the policy or of a feed from becoming a formula in a spreadsheet."""
    return f"'{words}" if words[:1] in "=+-@\t\r＝＋－＠" and words else words  # noqa: RUF001


_OWN = "(CAST(:organisation_id AS uuid) IS NULL OR {table}.organisation_id = :organisation_id)"
_WITHIN = "{table}.at >= :starts_at AND {table}.at < :ends_at"


def _statement(words: str, table: str) -> Any:
    within = f"{_WITHIN} AND {_OWN}".format(table=table)
    return text(words.replace("__WITHIN__", within))


# The part of a source before its colon says what kind of judge it was.
_VERDICTS = _statement(
    """
    SELECT 'refusals' AS section, verdict.subject AS what,
           coalesce(verdict.category, 'other') AS category,
           CASE WHEN source LIKE 'rules:%' THEN 'rules' WHEN source LIKE 'pdq:%' THEN 'list'
                ELSE 'classifier' END AS source,
           verdict.action, count(*) AS count
      FROM verdict WHERE verdict.action <> 'allow' AND __WITHIN__
     GROUP BY 2, 3, 4, 5 ORDER BY 2, 3, 4, 5
    """,
    "verdict",
)
_REPORTS = _statement(
    """
    SELECT 'reports' AS section, 'report' AS what, report.category, report.source, count(*) AS count
      FROM report WHERE __WITHIN__ GROUP BY 3, 4 ORDER BY 3, 4
    """,
    "report",
)
_APPEALS = _statement(
    """
    SELECT 'appeals' AS section, 'filed' AS what,
           coalesce(review_case.category, 'other') AS category, count(*) AS count
      FROM appeal JOIN review_case ON review_case.id = appeal.case_id
     WHERE __WITHIN__ GROUP BY 3 ORDER BY 3
    """,
    "appeal",
)
_DECISIONS = _statement(
    """
    SELECT CASE WHEN review_case.kind = 'appeal' THEN 'appeals' ELSE 'decisions' END AS section,
           CASE WHEN review_case.kind = 'appeal'
                THEN CASE decision.action WHEN 'allow' THEN 'granted' ELSE 'denied' END
                WHEN decision.reverses IS NULL THEN review_case.kind
                ELSE 'reversal' END AS what,
           coalesce(decision.category, 'other') AS category, decision.action, count(*) AS count
      FROM decision JOIN review_case ON review_case.id = decision.case_id
     WHERE __WITHIN__ GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT 'measures', measure, '', '', count(*)
      FROM decision JOIN review_case ON review_case.id = decision.case_id
      CROSS JOIN LATERAL (VALUES
               (CASE WHEN review_case.adapter_id IS NULL THEN 'picture' ELSE 'LoRA' END
                || ' ' || decision.effect, decision.effect <> 'none'),
               ('hash blocked', decision.blocks_hash),
               ('member suspended', decision.suspends)) AS taken (measure, is_taken)
     WHERE is_taken AND __WITHIN__ GROUP BY measure
     ORDER BY 1, 2, 3, 4
    """,
    "decision",
)
# From opening to the first decision; a reversal has a clock of no kind. In hours.
_TIMES = _statement(
    """
    SELECT 'times' AS section, review_case.kind AS what, measure AS action, count(*) AS count,
           CASE measure
               WHEN 'median hours' THEN percentile_cont(0.5) WITHIN GROUP (ORDER BY took)
               WHEN 'p90 hours' THEN percentile_cont(0.9) WITHIN GROUP (ORDER BY took)
               ELSE avg(CASE WHEN decision.at <= review_case.due_at THEN 1.0 ELSE 0.0 END)
           END AS value
      FROM decision JOIN review_case ON review_case.id = decision.case_id
      CROSS JOIN LATERAL (
          SELECT extract(epoch FROM decision.at - review_case.opened_at) / 3600 AS took) AS taken
      CROSS JOIN (VALUES ('median hours'), ('p90 hours'), ('share in time')) AS measures (measure)
     WHERE decision.reverses IS NULL AND __WITHIN__
       AND (measure <> 'share in time' OR review_case.due_at IS NOT NULL)
     GROUP BY review_case.kind, measure ORDER BY 2, 3
    """,
    "decision",
)
_LOOKS = _statement(
    """
    SELECT 'looks' AS section, look.what, count(*) AS count
      FROM look WHERE __WITHIN__ GROUP BY 2 ORDER BY 2
    """,
    "look",
)
