"""The studio's papers: the key of its watermark, and the certificate that it signs with.

An operator who has a certificate names its files in C2PA_CERTIFICATE (a PEM chain, leaf first) and
C2PA_PRIVATE_KEY. Without them the studio makes a certificate at its first start, under a root of
its own, and says so in its name: such a signature proves that a file is unchanged since this studio
signed it, and not who the studio is. All workers and the web process of a studio share the folder;
whoever has it can sign in the studio's name.
"""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from licensing.db import now
from licensing.errors import AtelierError
from licensing.kept_files import kept

WATERMARK_KEY_FILE = "watermark.key"
WATERMARK_KEY_BYTES = 32
SELF_SIGNED_FILE = "self-signed.pem"
SELF_SIGNED_NAME = "Atelier (self-signed)"
ROOT_NAME = "Atelier (self-made root)"
SELF_SIGNED_DAYS = 3650


class PapersProblem(AtelierError):  # noqa: N818 - one sentence for whoever runs the studio
    """The studio's keys cannot be read, made or used; no file leaves without a signature."""

    code = "signing_unavailable"
    status = 503


@dataclass(frozen=True)
class Papers:
    """What a studio marks and signs with. `certificate` is a PEM chain, leaf first."""

    watermark_key: bytes
    certificate: bytes
    private_key: bytes
    is_self_signed: bool


def open_papers(folder: Path, environment: Mapping[str, str] = os.environ) -> Papers:
    """Read the keys below `folder`; make at the first start what is not there.

    Two processes that start together end with the same files: each is written whole, and the first
    one stays. Raises `PapersProblem`.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark = kept(folder / WATERMARK_KEY_FILE, secrets.token_bytes(WATERMARK_KEY_BYTES))
        named = environment.get("C2PA_CERTIFICATE"), environment.get("C2PA_PRIVATE_KEY")
        if named[0] and named[1]:
            certificate, key = Path(named[0]).read_bytes(), Path(named[1]).read_bytes()
            return Papers(mark, certificate, key, is_self_signed=False)
        if named[0] or named[1]:
            raise PapersProblem("Set both C2PA_CERTIFICATE and C2PA_PRIVATE_KEY, or neither.")
        certificate, key = _self_signed(folder)
    except OSError as error:
        raise PapersProblem(
            f"The studio's signing keys cannot be read or written: {error.strerror} "
            f"({error.filename})."
        ) from error
    return Papers(mark, certificate, key, is_self_signed=True)


def _self_signed(folder: Path) -> tuple[bytes, bytes]:
    """Certificate and key of this studio's own, in one file until both are known to be kept."""
    both = folder / SELF_SIGNED_FILE
    if not both.exists():
        kept(both, _make_pair())
    text = both.read_text("ascii")
    cut = text.index("-----BEGIN PRIVATE KEY-----")
    return text[:cut].encode(), text[cut:].encode()


def _make_pair() -> bytes:
    """A leaf for signing and the root above it (C2PA takes no leaf that signed itself), as PEM."""
    from cryptography import x509  # noqa: PLC0415 - for the first start alone
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: PLC0415

    root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def certificate(name: str, key: ec.EllipticCurvePrivateKey, *, is_root: bool) -> bytes:
        usages = dict.fromkeys(_USAGES, False)
        usages |= {"key_cert_sign": True, "crl_sign": True} if is_root else {}
        usages |= {} if is_root else {"digital_signature": True}
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(ROOT_NAME))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now() - timedelta(minutes=5))  # clocks differ a little
            .not_valid_after(now() + timedelta(days=SELF_SIGNED_DAYS))
            .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**usages), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()),
                critical=False,
            )
        )
        if not is_root:
            purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(purposes, critical=False)
        made = builder.sign(root_key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM)

    def _name(common: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, common),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Atelier"),
            ]
        )

    private = leaf_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    leaf = certificate(SELF_SIGNED_NAME, leaf_key, is_root=False)
    return leaf + certificate(ROOT_NAME, root_key, is_root=True) + private


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
