"""The layouts of a bill's files: which columns, in which order, and how each is computed.

A profile is a query and a list of columns, each an SQL expression over its rows, so that the
database writes the text and Python only passes it on. The version in a profile's name goes up with
every change of a column, its order or its text; a file that is stored keeps the name it was
written with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

# A cell that begins with one of these becomes a formula in some spreadsheet; the full-width forms
# are read as the plain ones by East Asian versions. Blanks before it do not help.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

# How a column is typed in Parquet; `words` are people's own, which a spreadsheet must not run.
Kind = Literal["text", "words", "count", "decimal", "moment"]


@dataclass(frozen=True)
class Column:
    """A column of a file: `sql` gives its text over the rows of the profile's source."""

    name: str
    sql: str
    kind: Kind = "text"


@dataclass(frozen=True)
class Part:
    """Rows of one source, in its order: `values` holds an SQL text for each column or NULL."""

    source: str
    values: Sequence[Column]
    order: str


@dataclass(frozen=True)
class Profile:
    """A layout. Its parts follow each other in the file and have the same columns."""

    name: str
    stem: str  # what the file of a month is called, before the month
    parts: Sequence[Part]
    has_mark: bool = False  # begins the CSV with a byte order mark, which spreadsheets want

    @property
    def columns(self) -> Sequence[Column]:
        """Name and kind of each column."""
        return self.parts[0].values


def copy_sql(part: Part, *, is_for_spreadsheets: bool) -> str:
    """The query to copy a part out. Its values are those of `formats.Material.rows`.

    For spreadsheets people's words are kept from becoming formulas.
    """
    columns = ", ".join(
        as_text_cell(column.sql) if is_for_spreadsheets and column.kind == "words" else column.sql
        for column in part.values
    )
    return f"SELECT {columns} FROM {part.source} ORDER BY {part.order}"  # noqa: S608 - our own words


def as_text_cell(sql: str) -> str:
    """Keep words from becoming a formula: a leading apostrophe makes them text."""
    starts = ", ".join(str(ord(character)) for character in FORMULA_STARTS)
    return f"CASE WHEN ascii(ltrim({sql}, ' ')) IN ({starts}) THEN '''' || {sql} ELSE {sql} END"


def moment(sql: str) -> str:
    """A time as ISO 8601 in UTC with microseconds."""
    return f"""to_char({sql} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def usd(sql: str) -> str:
    """Microdollars as dollars with six decimals: exact, because numeric keeps the scale."""
    return f"({sql}) * 0.000001"


LINES = """usage_line AS line
     WHERE line.organisation_id = %(organisation_id)s
       AND line.at >= %(start)s AND line.at < %(end)s"""

USAGE = Profile(
    name="usage/2",
    stem="atelier-usage",
    has_mark=True,
    parts=(
        Part(
            source=LINES,
            order="line.at, line.id",
            values=(
                Column("settled_at", moment("line.at"), "moment"),
                Column("kind", "line.kind"),
                Column("line_id", "line.id", "count"),
                Column("corrects_line_id", "line.corrects_id", "count"),
                Column("generation_id", "line.generation_id"),
                Column("member_id", "line.member_id"),
                Column("member_name", "line.member_name", "words"),
                Column("member_email", "line.member_email", "words"),
                Column("team_id", "line.team_id"),
                Column("team_name", "line.team_name", "words"),
                Column("cost_centre", "line.cost_centre", "words"),
                Column("project", "line.project", "words"),
                Column("api_key_id", "line.api_key_id"),
                Column("api_key_name", "line.api_key_name", "words"),
                Column("model", "line.model", "words"),
                Column("price_class", "line.price_class"),
                Column("price_version", "line.price_version", "words"),
                Column("width", "line.width", "count"),
                Column("height", "line.height", "count"),
                Column("images", "line.images", "count"),
                Column("unit_price_usd", usd("line.unit_price_micros"), "decimal"),
                Column("amount_micros", "line.amount_micros", "count"),
                Column("amount_usd", usd("line.amount_micros"), "decimal"),
                Column("refund_transfer_id", "line.transfer_id", "count"),
                Column("reason", "line.reason", "words"),
            ),
        ),
    ),
)
