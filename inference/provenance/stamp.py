"""The two files of a picture as they are stored and delivered: marked, described and signed.

Krea's licence (section 4.3) and the law ask that AI-made pictures are marked. Before the signature
the bytes depend on nothing but the arguments (no clock), so that the same picture is the same file;
the signature itself has a time in it.

The prompt is left out on purpose: a shared picture must not tell what was typed. The generation id
leads those who may know to it.
"""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any
from xml.sax.saxutils import escape

from PIL.Image import Image, Resampling
from PIL.Image import open as open_image
from PIL.PngImagePlugin import PngInfo

from inference.engine import Build
from inference.models import Model
from inference.provenance import png, signature, watermark
from inference.provenance.papers import Papers
from inference.request import AdapterUse

# IPTC's term for a picture made wholly by a trained model, which platforms read as "AI-generated".
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
GUIDANCE_CONVENTION = "cond + g * (cond - uncond); 0 is off"
SETTINGS_KEY = "atelier"
GENERATION_LABEL = "org.atelier.generation"
THUMBNAIL_SIDE = 384  # sharp in a gallery tile of 192 CSS pixels on a dense screen
# Whole pixels are joined down to 1.3 times that first, in a sixth of the time at 2,048 pixels.
THUMBNAIL_GAP = 1.3
THUMBNAIL_PACKED: dict[str, Any] = {"quality": 80, "method": 2}  # 4 takes twice as long for 3 %
# A thumbnail holds few tiles: one in twenty rough ones answered too faintly at the usual strength.
THUMBNAIL_STRENGTHS = (1.0, 1.4, 2.0, 2.8)
THUMBNAIL_ANSWER = 1.25 * watermark.SCORE_FOUND

XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about=""
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/">
<Iptc4xmpExt:DigitalSourceType>{source_type}</Iptc4xmpExt:DigitalSourceType>
<Iptc4xmpExt:AISystemUsed>{system}</Iptc4xmpExt:AISystemUsed>
<xmp:CreatorTool>Atelier</xmp:CreatorTool>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


@dataclass(frozen=True)
class Origin:
    """Where one picture comes from; `seed` is the picture's own, not the request's first."""

    model: Model
    generation_id: str
    seed: int
    build: Build
    adapters: tuple[AdapterUse, ...] = ()


@dataclass(frozen=True)
class Files:
    """What is stored of one picture: a PNG and a WebP, each marked and signed."""

    original: bytes
    thumbnail: bytes


def stamp(image: Image, origin: Origin, papers: Papers) -> Files:
    """Mark the pixels, describe, sign. Raises `PapersProblem`: nothing is delivered unsigned."""
    manifest = _manifest(origin)

    def small() -> bytes:
        return signature.sign(_thumbnail(image, origin, papers), "image/webp", papers, manifest)

    # The small file beside the large one: the arithmetic of both leaves the interpreter free.
    with ThreadPoolExecutor(1) as beside:
        thumbnail = beside.submit(small)
        marked = watermark.embed(image, papers.watermark_key)
        original = signature.sign(describe(marked, origin), "image/png", papers, manifest)
        return Files(original, thumbnail.result())


def describe(image: Image, origin: Origin) -> bytes:
    """The picture as a PNG with its metadata, before the signature."""
    info = PngInfo()
    info.add_itxt("Comment", _statement(origin))
    info.add_itxt("Software", "Atelier")
    info.add_itxt(SETTINGS_KEY, json.dumps(settings(image, origin)))
    info.add_itxt("XML:com.adobe.xmp", _xmp(origin))
    return png.encode(image, info)


def _thumbnail(image: Image, origin: Origin, papers: Papers) -> bytes:
    """A WebP with sides of at most THUMBNAIL_SIDE, marked as AI-made like the original.

    The watermark is laid over it at its own size (of the original's, little is left this small),
    and no stronger than it takes to be found again in the file.
    """
    scale = min(1.0, THUMBNAIL_SIDE / max(image.size))
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    small = image.resize(size, Resampling.LANCZOS, reducing_gap=THUMBNAIL_GAP)
    for strength in THUMBNAIL_STRENGTHS:
        buffer = io.BytesIO()
        marked = watermark.embed(small, papers.watermark_key, strength)
        marked.save(buffer, "WEBP", **THUMBNAIL_PACKED, xmp=_xmp(origin).encode())
        if watermark.answer(open_image(buffer), papers.watermark_key) >= THUMBNAIL_ANSWER:
            break
    return buffer.getvalue()


def settings(image: Image, origin: Origin) -> dict[str, object]:
    """What, with the prompt, is enough to make the picture again on the same stack."""
    model = origin.model
    loras = {"loras": [asdict(use) for use in origin.adapters]} if origin.adapters else {}
    return {
        "ai_generated": True,
        "model": model.name,
        "checkpoint": model.source,
        "generation": origin.generation_id,
        "seed": origin.seed,
        "width": image.width,
        "height": image.height,
        "steps": model.steps,
        "guidance": model.guidance,
        "guidance_convention": GUIDANCE_CONVENTION,
        **loras,
        "build": asdict(origin.build),
    }


def _manifest(origin: Origin) -> dict[str, object]:
    """The C2PA manifest: created by a trained model, by which one, in which generation."""
    return {
        "claim_generator_info": [{"name": "Atelier", "version": origin.build.engine}],
        "title": f"{origin.generation_id}-{origin.seed}",
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {
                    "actions": [
                        {
                            "action": "c2pa.created",
                            "digitalSourceType": SOURCE_TYPE,
                            "softwareAgent": {"name": origin.model.name},
                        }
                    ]
                },
            },
            {
                "label": GENERATION_LABEL,
                "data": {"generation": origin.generation_id, "model": origin.model.name},
            },
        ],
    }


def _statement(origin: Origin) -> str:
    return f"This picture was generated by AI with the model {origin.model.name}."


def _xmp(origin: Origin) -> str:
    return XMP.format(source_type=SOURCE_TYPE, system=escape(origin.model.name))
