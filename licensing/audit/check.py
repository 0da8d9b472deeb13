"""One question to the books, and how its answer reads."""

from dataclasses import dataclass

from sqlalchemy.sql.elements import TextClause


@dataclass(frozen=True)
class Check:
    """A query for contradictions, at most `:limit` of them; each row fills the sentence."""

    sentence: str
    query: TextClause
