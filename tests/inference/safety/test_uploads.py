"""The uploads desk: what a file is, how large it may become, and what is said of what it shows."""

import io
import struct
import uuid
import zlib

import pytest
from PIL import Image
from sqlalchemy.orm import Session
from test_block_list import PDQ, PICTURE
from test_safety_image import blur

from inference.safety import FilterUnavailable
from inference.safety.filters import chosen
from inference.safety.known import KnownPictures
from inference.safety.output import OutputDesk
from inference.safety.uploads import (
    FILE_BYTES_MAX,
    UploadForbidden,
    UploadRefused,
    examine,
    fingerprint,
    open_picture,
    require_allowed,
)
from licensing import block_list
from licensing.db import Database

ORGANISATION = uuid.UUID(int=1)


def saved(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG", "GIF"])
def test_the_type_is_what_the_content_is(kind: str) -> None:
    upload = open_picture(saved(PICTURE, kind))
    assert upload.media_type == f"image/{kind.lower()}"
    assert (upload.width, upload.height) == PICTURE.size


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not a PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a PNG"),
        (saved(PICTURE, "TIFF"), "not a PNG"),
        (saved(PICTURE)[:200], "damaged"),
        (bytes(FILE_BYTES_MAX + 1), "20 MB"),
        (bomb(8_001, 8_000), "64 megapixels"),
        (bomb(20_000, 16), "16,384 pixels a side"),
        (bomb(60_000, 60_000), "not a PNG"),
        (bomb(4_000, 4_000), "damaged"),
    ],
)
def test_what_is_no_bounded_picture_is_refused(content: bytes, sentence: str) -> None:
    with pytest.raises(UploadRefused, match=sentence):
        open_picture(content)


def test_a_plain_picture_has_no_fingerprint() -> None:
    assert fingerprint(PICTURE)[0] == PDQ
    assert len(fingerprint(PICTURE)) == 8
    assert fingerprint(Image.new("RGB", (256, 256), "white")) == []


@pytest.fixture
def desk(database: Database) -> OutputDesk:
    known = KnownPictures()
    with database.transaction() as session:
        block_list.import_feed(session, [PDQ.hex()], source="feed", category="harassment")
    with Session(database.engine) as session:
        known.refresh(session)
    return OutputDesk(known, chosen({}))


def test_an_upload_is_judged_like_a_picture_made_here(desk: OutputDesk) -> None:
    listed = examine(saved(PICTURE.transpose(Image.Transpose.ROTATE_90)), desk, ORGANISATION)
    assert (listed.verdict.action, listed.verdict.source) == ("block", "pdq:feed")
    explicit = examine(saved(blur(256), "WEBP"), desk, ORGANISATION)
    assert (explicit.verdict.action, explicit.verdict.category) == ("block", "sexual")
    with pytest.raises(UploadForbidden):
        require_allowed(saved(PICTURE), desk, ORGANISATION)
    harmless = require_allowed(saved(Image.new("RGB", (96, 96), "white")), desk, ORGANISATION)
    assert harmless.verdict.action == "allow"


def test_without_a_list_nothing_is_taken() -> None:
    with pytest.raises(FilterUnavailable):
        examine(saved(PICTURE), OutputDesk(KnownPictures(), chosen({})), ORGANISATION)
