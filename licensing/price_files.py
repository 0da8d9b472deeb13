"""Price lists as files: what an operator writes, checks and hands to `atelier prices add`.

Pure but for reading the file. `texts/prices.toml` is the first list, which the migrations put into
every database: copy it to make the next one.
"""

import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from licensing.errors import AtelierError
from licensing.money import InvalidAmount
from licensing.prices import PriceList, read_list

ID_CHARACTERS_MAX = 40  # it stands in a narrow column of every usage export
NOTE_CHARACTERS_MAX = 500
FIELDS = {"id", "effective", "note", "per_image_micros", "size"}


class InvalidPriceFile(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The file is no price list; nothing was added."""

    code = "invalid_price_file"
    status = 422


@dataclass(frozen=True)
class PriceFile:
    """A list with the moment from which it shall be in force, in UTC."""

    listed: PriceList
    effective_at: datetime
    note: str


def read_price_file(path: Path) -> PriceFile:
    """Read the list at `path`. Raises `InvalidPriceFile` with a sentence on the first fault."""
    try:
        return parse(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidPriceFile(f"{path} cannot be read: {error}") from error


def shipped() -> PriceFile:
    """The list that this release was published with."""
    return parse(resources.files("licensing").joinpath("texts/prices.toml").read_text("utf-8"))


def parse(source: str) -> PriceFile:
    """Read one list from TOML. Raises `InvalidPriceFile`."""
    try:
        given = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise InvalidPriceFile(f"The price list is not TOML: {error}.") from error
    unknown = sorted(set(given) - FIELDS)
    if unknown:
        raise InvalidPriceFile(f"A price list has no field “{unknown[0]}”.")
    id_, effective, note = given.get("id"), given.get("effective"), given.get("note", "")
    if not isinstance(id_, str) or not id_.isprintable() or not 1 <= len(id_) <= ID_CHARACTERS_MAX:
        raise InvalidPriceFile(f"`id` must be text of 1 to {ID_CHARACTERS_MAX} characters.")
    if not isinstance(effective, datetime) or effective.tzinfo is None:
        raise InvalidPriceFile(
            "`effective` must be a moment with its time zone, such as 2027-01-01T00:00:00Z."
        )
    if not isinstance(note, str) or len(note) > NOTE_CHARACTERS_MAX:
        raise InvalidPriceFile(f"`note` must be text of at most {NOTE_CHARACTERS_MAX} characters.")
    try:
        listed = read_list(id_, {**given, "sizes": given.get("size")})
    except InvalidAmount as error:
        raise InvalidPriceFile(f"A price cannot be used. {error.message}") from error
    except ValueError as error:
        raise InvalidPriceFile(f"The price list cannot be used: {error}.") from error
    return PriceFile(listed, effective.astimezone(UTC), note)
