"""The key that checkpoints are signed with: Ed25519, the operator's or one made at first use.

ATELIER_LOG_KEY names an Ed25519 private key in PEM, without a password. Without it the studio keeps
one among its papers. Whoever can read it can sign a false checkpoint: what protects the log is the
copy of a checkpoint that was taken elsewhere before. Imports the cryptography package when used.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from licensing.errors import AtelierError
from licensing.kept_files import kept

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_FILE = "log-signing.pem"
PUBLIC_KEY_BYTES = 32


class LogKeyProblem(AtelierError):  # noqa: N818 - one sentence for whoever runs the studio
    """The key of the log cannot be read, made or used."""

    code = "log_key"
    status = 503


@dataclass(frozen=True)
class LogKey:
    """A signing key; `public` is its 32 public bytes, which are printed in hexadecimal."""

    private: "Ed25519PrivateKey"
    public: bytes

    def sign(self, content: bytes) -> bytes:
        """Sign; 64 bytes, the same for the same content."""
        return self.private.sign(content)


def open_key(folder: Path, environment: Mapping[str, str] = os.environ) -> LogKey:
    """Read the key, or make it below `folder` at first use. Raises `LogKeyProblem`."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - when it is used
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - as above
        Ed25519PrivateKey,
    )

    named = environment.get("ATELIER_LOG_KEY")
    try:
        if named:
            pem = Path(named).read_bytes()
        else:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            pem = kept(folder / KEY_FILE, fresh)
        private = serialization.load_pem_private_key(pem, password=None)
    except OSError as error:
        raise LogKeyProblem(
            f"The log's key cannot be read or written: {error.strerror} ({error.filename})."
        ) from error
    except (TypeError, ValueError) as error:
        raise LogKeyProblem("ATELIER_LOG_KEY is no private key in PEM without password.") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise LogKeyProblem("ATELIER_LOG_KEY must be an Ed25519 key.")
    return LogKey(private, private.public_key().public_bytes_raw())


def is_signed(content: bytes, signature: bytes, public: bytes) -> bool:
    """Whether `signature` is that of `public` over `content`."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - when it is used
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - as above
        Ed25519PublicKey,
    )

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, content)
    except (InvalidSignature, ValueError):
        return False
    return True
