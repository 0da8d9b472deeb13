"""The uploads desk: what is asked of a picture that somebody brings, whatever they bring it for.

`open_picture` looks at the bytes and at nothing that came with them: the type is what the content
is, size and pixels are bounded before anything is unpacked, and a file that unpacks to more than it
says is refused. `fingerprint` is for comparing. A reported picture is judged by the block list and
by the classifier that always judges, for whoever decides on the report; it is sent nowhere, and
never refused for what it shows, since that is what it is reported for. What is brought to `/verify`
is answered and forgotten: there is nobody to tell.
"""

import io
import logging
import uuid
import warnings
from dataclasses import dataclass
from typing import ClassVar

from PIL import Image, UnidentifiedImageError
from sqlalchemy.orm import Session

from inference.safety import FilterUnavailable, ImageVerdict, pdq
from inference.safety.output import ImageFilter
from licensing import block_list
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

_log = logging.getLogger(__name__)


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


def classify(image: Image.Image, image_filter: ImageFilter) -> ImageVerdict | None:
    """What the classifier says of a picture; None if it cannot, which refuses nobody's report."""
    assert image_filter.is_local, "what is reported may be evidence, and is sent to nobody"
    try:
        return image_filter.check(image.convert("RGB"))
    except FilterUnavailable as problem:
        _log.error("A reported picture was not judged: %s", problem.message)
        return None


def known(
    session: Session, orientations: list[bytes], organisation_id: uuid.UUID
) -> ImageVerdict | None:
    """What the block list in force for an organisation says; None if the picture is not on it."""
    found = block_list.nearest(session, organisation_id, orientations, pdq.DISTANCE_MAX)
    if found is None:
        return None
    score = 1 - found.distance / (8 * block_list.HASH_BYTES)
    return ImageVerdict("block", found.category, score, f"pdq:{found.source}")
