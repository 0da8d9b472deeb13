"""A link of the chain: what is hashed, and how. Pure.

    fields = SHA-256(canonical JSON of the row's fields; of null, if the row was gone already)
    words  = SHA-256(salt + canonical JSON of the row's words), where the table has words
    digest = SHA-256(canonical JSON of {chain, number, kind, key, layout, fields, words, sealed_at,
                                        previous}), hashes in hexadecimal

`previous` is the digest of the link before, thirty-two zero bytes for the first. The salt is no
part of the digest: once it and the words are deleted, nobody can guess what was said, and every
link still fits the next.
"""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from licensing.chain.canonical import canonical, plain

SALT_BYTES = 32
BEGINNING = bytes(32)


@dataclass(frozen=True)
class Link:
    """One link as it is stored."""

    chain_id: uuid.UUID
    number: int
    kind: str
    key: str
    layout: int
    fields_hash: bytes
    words_hash: bytes | None
    salt: bytes | None
    sealed_at: datetime
    previous: bytes
    digest: bytes

    @property
    def name(self) -> str:
        """What a person calls the row: `decision 12`."""
        return f"{self.kind} {self.key}"


def hash_fields(fields: dict[str, Any] | None) -> bytes:
    """Hash a row's plain fields; None is a row that was gone before it was linked."""
    return hashlib.sha256(canonical(fields)).digest()


def hash_words(words: dict[str, Any], salt: bytes) -> bytes:
    """Hash a row's plain words with the salt that lies beside them."""
    return hashlib.sha256(salt + canonical(words)).digest()


def digest_of(link: Link, *, number: int | None = None) -> bytes:
    """What the link's digest must be, at its own place or at another one."""
    content = {
        "chain": str(link.chain_id),
        "number": link.number if number is None else number,
        "kind": link.kind,
        "key": link.key,
        "layout": link.layout,
        "fields": link.fields_hash.hex(),
        "words": None if link.words_hash is None else link.words_hash.hex(),
        "sealed_at": plain(link.sealed_at),
        "previous": link.previous.hex(),
    }
    return hashlib.sha256(canonical(content)).digest()
