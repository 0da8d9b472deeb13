"""C2PA signatures: the last thing that is done to a file, and the first that is read from it.

C2PA is the standard of the Coalition for Content Provenance and Authenticity; signing and reading
are its own library's (c2pa-python), which is set to ask nobody on the network.
"""

import io
import json
from dataclasses import dataclass
from typing import Any

from inference.provenance.papers import Papers, PapersProblem

# The library would add a thumbnail of its own to every file, and could look up remote manifests.
C2PA_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}
_BEGIN = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True)
class Signature:
    """What a file's C2PA manifest says, once read.

    `is_intact`: the file is as it was signed. `is_ours`: by this studio's certificate. `issuer` is
    the name that the certificate gives itself.
    """

    is_intact: bool
    is_ours: bool
    issuer: str
    claims: dict[str, Any]
    problems: tuple[str, ...]


def sign(content: bytes, media_type: str, papers: Papers, manifest: dict[str, Any]) -> bytes:
    """Return the file with a C2PA manifest, signed; nothing may be written into it afterwards.

    `media_type` is image/png or image/webp. Raises `PapersProblem`.
    """
    import c2pa  # noqa: PLC0415 - a native library of 50 MB, for those who sign

    signed = io.BytesIO()
    try:
        info = c2pa.C2paSignerInfo(
            _algorithm(papers.private_key), papers.certificate, papers.private_key, None
        )
        with (
            c2pa.Signer.from_info(info) as signer,
            c2pa.Context(c2pa.Settings.from_dict(C2PA_SETTINGS)) as context,
            c2pa.Builder(manifest, context) as builder,
        ):
            builder.sign(signer, media_type, io.BytesIO(content), signed)
    except (c2pa.C2paError, ValueError) as error:
        raise PapersProblem(
            "The picture could not be signed with the studio's certificate, so it is not "
            f"delivered ({error})."
        ) from error
    return signed.getvalue()


def read(content: bytes, media_type: str, papers: Papers) -> Signature | None:
    """Read and check a file's signature; None if it carries none."""
    import c2pa  # noqa: PLC0415 - as above

    # The only anchor is the issuer of our own certificate. A stranger's certificate may bear our
    # name; it does not lead to our issuer, and an issuer gives a serial number once.
    issuer = papers.certificate.rstrip().split(_BEGIN)[-1]
    anchors = {"user_anchors": (_BEGIN + issuer).decode("ascii") + "\n"}
    settings = c2pa.Settings.from_dict({**C2PA_SETTINGS, "trust": anchors})
    try:
        with (
            c2pa.Context(settings) as context,
            c2pa.Reader(media_type, io.BytesIO(content), context=context) as reader,
        ):
            report = json.loads(reader.json())
    except c2pa.C2paError as error:
        if "ManifestNotFound" in type(error).__name__ or "no JUMBF data" in str(error):
            return None
        return Signature(
            is_intact=False, is_ours=False, issuer="", claims={}, problems=(str(error),)
        )
    active = report["manifests"].get(report.get("active_manifest", ""), {})
    codes = tuple(status["code"] for status in report.get("validation_status", ()))
    broken = tuple(code for code in codes if code != "signingCredential.untrusted")
    signed_by = active.get("signature_info", {})
    return Signature(
        is_intact=not broken and report.get("validation_state") in {"Valid", "Trusted"},
        is_ours=report.get("validation_state") == "Trusted"
        and signed_by.get("cert_serial_number") == _serial_number(papers.certificate),
        issuer=signed_by.get("common_name") or signed_by.get("issuer") or "",
        claims={
            assertion["label"]: assertion.get("data", {})
            for assertion in active.get("assertions", ())
        },
        problems=broken,
    )


def _algorithm(private_key: bytes) -> Any:
    """The signature algorithm that goes with the operator's key. Raises `ValueError`."""
    import c2pa  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    key = load_pem_private_key(private_key, password=None)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        curves = {256: "ES256", 384: "ES384", 521: "ES512"}
        return getattr(c2pa.C2paSigningAlg, curves[key.curve.key_size])
    if isinstance(key, rsa.RSAPrivateKey):
        return c2pa.C2paSigningAlg.PS256
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return c2pa.C2paSigningAlg.ED25519
    raise ValueError("C2PA_PRIVATE_KEY must be an EC, RSA or Ed25519 key in PEM")


def _serial_number(certificate: bytes) -> str:
    from cryptography import x509  # noqa: PLC0415 - as above

    return str(x509.load_pem_x509_certificates(certificate)[0].serial_number)
