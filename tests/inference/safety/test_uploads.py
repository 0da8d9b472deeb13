"""The uploads desk: what a file is, and how large it may become."""

import io
import struct
import zlib

import pytest
from PIL import Image
from test_block_list import PDQ, PICTURE

from inference.safety.uploads import (
    FILE_BYTES_MAX,
    UploadRefused,
    fingerprint,
    open_picture,
)


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
