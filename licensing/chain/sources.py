"""What is logged: which tables, which of their columns, and which words in them can be erased.

A column is either a field, which is hashed as it is and stays for ever, or a word: text by or about
people, which enters the chain as a salted hash alone. `person` is the column of whose erasure
blanks the words; without one nothing does. When a table gets a column, its source gets a higher
`layout` and the old one stays here, because old links were made with it. A test compares this file
with the append-only tables of the database.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Source:
    """A logged table. `kind` is its name; rows that do not fit `only` are not in the log."""

    kind: str
    fields: tuple[str, ...]
    words: tuple[str, ...] = ()
    person: str | None = None
    key_type: Literal["bigint", "text"] = "bigint"
    layout: int = 1
    only: str = "true"


SOURCES = (
    Source(
        "verdict",
        fields=(
            "id",
            "organisation_id",
            "member_id",
            "generation_id",
            "picture_index",
            "subject",
            "action",
            "category",
            "score",
            "source",
            "at",
        ),
        words=("excerpt",),
        person="member_id",
    ),
    Source(
        "decision",
        fields=(
            "id",
            "organisation_id",
            "case_id",
            "reviewer_id",
            "action",
            "category",
            "reason",
            "reverses",
            "effect",
            "blocks_hash",
            "suspends",
            "at",
        ),
        words=("note",),
    ),
    Source(
        "look",
        fields=("id", "organisation_id", "case_id", "reviewer_id", "what", "at"),
        words=("reason",),
    ),
    Source(
        "appeal",
        fields=("id", "organisation_id", "case_id", "answer_case_id", "member_id", "at"),
        words=("words",),
        person="member_id",
    ),
    Source(
        "report",
        fields=(
            "id",
            "organisation_id",
            "case_id",
            "source",
            "receipt",
            "reporter_id",
            "category",
            "sha256",
            "pdq",
            "picture_id",
            "at",
        ),
        words=("statement", "name", "contact", "link"),
        person="reporter_id",
    ),
    Source(
        "upload_verdict",
        fields=(
            "id",
            "organisation_id",
            "report_id",
            "action",
            "category",
            "score",
            "source",
            "at",
        ),
    ),
    Source(
        "evidence_step",
        fields=("id", "organisation_id", "case_id", "step", "member_id", "at"),
        words=("note",),
    ),
    Source(
        "review_grant",
        fields=("id", "organisation_id", "member_id", "given_by", "is_given", "at"),
        words=("given_by_name", "reason"),
    ),
    Source(
        "policy_setting",
        fields=("id", "organisation_id", "member_id", "category", "action", "at"),
        words=("reason",),
    ),
    Source(
        "adapter_change",
        fields=(
            "id",
            "organisation_id",
            "adapter_id",
            "member_id",
            "kind",
            "sha256",
            "category",
            "grid",
            "verdict_id",
            "decision_of_case",
            "at",
        ),
        words=("detail",),
    ),
    Source(
        "seat_change",
        fields=("id", "organisation_id", "member_id", "actor_id", "kind", "seats_taken", "at"),
        words=("detail",),
    ),
    Source(
        "transfer",
        fields=(
            "id",
            "organisation_id",
            "kind",
            "source_id",
            "destination_id",
            "amount_micros",
            "key",
            "hold_id",
            "origin_id",
            "author_id",
            "at",
        ),
        words=("note",),
        # Charges are thousands an hour, and the books check them against holds and usage lines.
        only="kind <> 'settle'",
    ),
    Source(
        "wallet_change",
        fields=("id", "organisation_id", "kind", "cause", "credit_limit_micros", "author_id", "at"),
        words=("reason",),
    ),
    Source(
        "price_version",
        fields=("id", "effective_at", "list", "author_id", "created_at"),
        words=("note",),
        key_type="text",
    ),
    Source(
        "model_switch",
        fields=("id", "model_id", "action", "author_id", "at"),
        words=("reason", "given_by"),
    ),
    Source(
        "attestation",
        fields=(
            "id",
            "kind",
            "licence",
            "licence_version",
            "statement_sha256",
            "author_id",
            "given_at",
            "valid_until",
        ),
        words=("reference", "given_by"),
    ),
)

# Append-only tables that are in no chain, each with the reason.
NOT_LOGGED = {
    "acceptance": "a person's own yes to a text; it judges nobody",
    "document_acceptance": "as above",
    "organisation_document": "a text on file, which carries its own SHA-256",
    "usage_line": "checked against the ledger by `atelier audit`, and sealed with the bill",
    "lot_spend": "checked against transfers by `atelier audit`",
    "bill_file": "carries its own SHA-256, and control totals with it",
    "bill_file_part": "as above",
    "chain_checkpoint": "signed",
}


def source(kind: str, layout: int) -> Source | None:
    """The source that a link was made with; None for one that this code does not know."""
    found = (one for one in SOURCES if one.kind == kind and one.layout == layout)
    return next(found, None)


def newest(kind: str) -> Source:
    """The source that a link of this kind is made with today."""
    return max((one for one in SOURCES if one.kind == kind), key=lambda one: one.layout)


def current() -> tuple[Source, ...]:
    """Each logged table once, as it is now."""
    kinds = dict.fromkeys(one.kind for one in SOURCES)
    return tuple(newest(kind) for kind in kinds)
