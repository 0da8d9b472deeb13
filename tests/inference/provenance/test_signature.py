"""Papers and signatures: made once, shared, and not to be forged by somebody with our name."""

import datetime as dt
import io
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

from inference.provenance import signature
from inference.provenance.papers import Papers, PapersProblem, open_papers

MANIFEST = {
    "claim_generator_info": [{"name": "Atelier"}],
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "data": {
                "actions": [
                    {
                        "action": "c2pa.created",
                        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/"
                        "trainedAlgorithmicMedia",
                    }
                ]
            },
        }
    ],
}


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(file, "PNG")
    return file.getvalue()


def forged(papers: Papers) -> Papers:
    """A stranger's certificate with our names and our serial number, under a root of their own."""
    ours, root = x509.load_pem_x509_certificates(papers.certificate)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    pem = b""
    for certificate, key in ((ours, keys[0]), (root, keys[1])):
        builder = (
            x509.CertificateBuilder()
            .subject_name(certificate.subject)
            .issuer_name(certificate.issuer)
            .serial_number(certificate.serial_number)
            .public_key(key.public_key())
            .not_valid_before(dt.datetime.now(dt.UTC) - dt.timedelta(hours=1))
            .not_valid_after(dt.datetime.now(dt.UTC) + dt.timedelta(days=1))
        )
        for extension in certificate.extensions:
            value = extension.value
            if isinstance(value, x509.SubjectKeyIdentifier):
                value = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
            if isinstance(value, x509.AuthorityKeyIdentifier):
                value = x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[1].public_key())
            builder = builder.add_extension(value, extension.critical)
        pem += builder.sign(keys[1], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = keys[0].private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Papers(papers.watermark_key, pem, private, is_self_signed=True)


def test_the_first_start_makes_papers_and_later_ones_find_them(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: open_papers(tmp_path / "papers", {}), range(8)))
    assert all(papers == made[0] for papers in made)
    assert made[0].is_self_signed
    assert {stat.S_IMODE(f.stat().st_mode) for f in (tmp_path / "papers").iterdir()} == {0o600}


def test_a_signed_file_is_ours_and_a_changed_one_is_not_intact(tmp_path: Path) -> None:
    papers = open_papers(tmp_path, {})
    signed = signature.sign(png(), "image/png", papers, MANIFEST)
    found = signature.read(signed, "image/png", papers)
    assert found is not None
    assert (found.is_intact, found.is_ours, found.issuer) == (True, True, "Atelier (self-signed)")
    changed = bytearray(signed)
    changed[-40] ^= 1
    spoiled = signature.read(bytes(changed), "image/png", papers)
    assert spoiled is not None
    assert not spoiled.is_intact
    assert signature.read(png(), "image/png", papers) is None


def test_a_stranger_with_our_name_and_number_is_still_a_stranger(tmp_path: Path) -> None:
    papers = open_papers(tmp_path, {})
    signed = signature.sign(png(), "image/png", forged(papers), MANIFEST)
    found = signature.read(signed, "image/png", papers)
    assert found is not None
    assert (found.is_intact, found.is_ours) == (True, False)


def test_the_operators_own_certificate_is_used_when_it_is_named(tmp_path: Path) -> None:
    theirs = open_papers(tmp_path / "theirs", {})
    (tmp_path / "chain.pem").write_bytes(theirs.certificate)
    (tmp_path / "key.pem").write_bytes(theirs.private_key)
    named = {
        "C2PA_CERTIFICATE": str(tmp_path / "chain.pem"),
        "C2PA_PRIVATE_KEY": str(tmp_path / "key.pem"),
    }
    papers = open_papers(tmp_path / "ours", named)
    assert not papers.is_self_signed
    found = signature.read(
        signature.sign(png(), "image/png", papers, MANIFEST), "image/png", papers
    )
    assert found is not None
    assert found.is_ours
    with pytest.raises(PapersProblem, match="both"):
        open_papers(tmp_path, {"C2PA_CERTIFICATE": named["C2PA_CERTIFICATE"]})
    with pytest.raises(PapersProblem, match="cannot be read"):
        open_papers(tmp_path, {**named, "C2PA_PRIVATE_KEY": str(tmp_path / "missing.pem")})
    wrong = Papers(b"k", theirs.certificate, b"not a key", is_self_signed=False)
    with pytest.raises(PapersProblem, match="could not be signed"):
        signature.sign(png(), "image/png", wrong, MANIFEST)
