"""The uploads desk: what is asked of a picture that somebody brings, whatever they bring it for.

`open_picture` looks at the bytes and at nothing that came with them: the type is what the content
is, size and pixels are bounded before anything is unpacked, and a file that unpacks to more than it
says is refused. `fingerprint` is for comparing. No model and nobody else sees what is brought, and
nothing is stored, so no filter judges what it shows: a picture that is reported, or asked about,
must not be refused for that.
"""

import io
import warnings
from dataclasses import dataclass
from typing import ClassVar

from PIL import Image, UnidentifiedImageError

from inference.safety import pdq
from licensing.errors import AtelierError

FILE_BYTES_MAX = 20 * 1_048_576  # a PNG of the largest picture made here has half of it
PIXELS_MAX = 64_000_000  # a camera's picture; 192 MB when unpacked
SIDE_MAX = 16_384  # a strip of one pixel's height is no picture
MEDIA_TYPES = {
    "PNG": "image/png",
    "WEBP": "image/webp",
    "JPEG": "image/jpeg",
    "GIF": "image/gif",
}


class UploadRefused(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The file is no picture that can be looked at here."""

    code: ClassVar[str] = "unreadable_picture"
    status: ClassVar[int] = 422


@dataclass(frozen=True)
class Upload:
    """A picture as it was brought, unpacked once. `image` keeps the file's own metadata."""

    image: Image.Image
    media_type: str

    @property
    def width(self) -> int:
        """In pixels."""
        return self.image.width

    @property
    def height(self) -> int:
        """In pixels."""
        return self.image.height


def open_picture(content: bytes) -> Upload:
    """Unpack a PNG, WebP, JPEG or GIF of bounded size. Raises `UploadRefused` with a sentence."""
    if len(content) > FILE_BYTES_MAX:
        raise UploadRefused(f"Files of up to {FILE_BYTES_MAX >> 20} MB, please.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=list(MEDIA_TYPES))
            if image.width * image.height > PIXELS_MAX or max(image.size) > SIDE_MAX:
                raise UploadRefused(
                    f"Pictures of up to {PIXELS_MAX // 1_000_000} megapixels and {SIDE_MAX:,} "
                    "pixels a side, please."
                )
            image.load()
    except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UploadRefused("This is not a PNG, WebP, JPEG or GIF picture.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise UploadRefused("This picture is damaged and cannot be read.") from error
    assert image.format is not None, "one of MEDIA_TYPES opened it"
    return Upload(image, MEDIA_TYPES[image.format])


def fingerprint(image: Image.Image) -> list[bytes]:
    """The picture's PDQ hashes, 32 bytes each: as it is, then turned and mirrored in all ways.

    Empty for a picture too plain to be told from others.
    """
    found = pdq.fingerprint(image)
    return [row.tobytes() for row in found.orientations] if found.is_usable else []
