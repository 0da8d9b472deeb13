"""What can be proved of a picture that somebody brings: by signature, by watermark, by its words.

Each piece of evidence says what it proves and no more. A signature proves that a file is unchanged
since it was signed; the watermark proves that pixels come from this studio, also after the file was
converted or cut; metadata is only what a file says of itself, which anybody can write. That nothing
is found proves nothing. Loads no torch; takes up to two seconds for a large picture.
"""

import json
from dataclasses import dataclass

from PIL import Image

from inference.provenance import signature, watermark
from inference.provenance.papers import Papers
from inference.provenance.signature import Signature
from inference.provenance.stamp import SETTINGS_KEY, SOURCE_TYPE
from inference.provenance.watermark import Finding
from inference.safety.uploads import open_picture


@dataclass(frozen=True)
class Evidence:
    """All that was found in one file. `says_ai` and `says_model` are unproved metadata."""

    width: int
    height: int
    signature: Signature | None
    watermark: Finding
    says_ai: bool
    says_model: str | None

    @property
    def is_from_here(self) -> bool:
        """Whether it is proved that this studio made the pixels."""
        signed_here = self.signature is not None and self.signature.is_ours
        return self.watermark.is_marked or (
            signed_here and self.signature is not None and self.signature.is_intact
        )


def examine(content: bytes, papers: Papers) -> Evidence:
    """Look at a PNG, WebP, JPEG or GIF. Raises `UploadRefused`."""
    upload = open_picture(content)
    image = upload.image
    found = signature.read(content, upload.media_type, papers)
    says_ai, says_model = _words(image)
    return Evidence(
        width=image.width,
        height=image.height,
        signature=found,
        watermark=watermark.search(image, papers.watermark_key),
        says_ai=says_ai,
        says_model=says_model,
    )


def _words(image: Image.Image) -> tuple[bool, str | None]:
    """Whether the metadata says "made by AI", and the model that it names."""
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or ""
    text = packet.decode("utf-8", "replace") if isinstance(packet, bytes) else str(packet)
    try:
        settings = json.loads(image.info.get(SETTINGS_KEY, "{}"))
    except (TypeError, ValueError, RecursionError):  # anybody can write a million brackets there
        settings = {}
    model = settings.get("model") if isinstance(settings, dict) else None
    return SOURCE_TYPE in text, model if isinstance(model, str) else None
