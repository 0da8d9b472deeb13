"""/verify: anybody brings a file, and the page says what it proves and no more."""

import io
from pathlib import Path

import httpx2
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from running import Running

from inference import models
from inference.engine import Build
from inference.provenance.papers import open_papers
from inference.provenance.stamp import Origin, stamp
from inference.safety.uploads import FILE_BYTES_MAX
from inference.settings import papers_folder

MADE = Image.linear_gradient("L").convert("RGB")


def png_of(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


@pytest.fixture
def delivered(demo_studio: Running) -> bytes:
    """A file as the worker of this studio delivers it."""
    papers = open_papers(papers_folder(demo_studio.settings.state), {})
    build = Build(engine="1", torch="none", diffusers="none", dtype="none", device="cpu")
    origin = Origin(models.find("krea-2-turbo"), "0d9b1c4e-0000-4000-8000-000000000000", 7, build)
    return stamp(MADE, origin, papers).original


def bring(studio: Running, content: bytes, name: str = "picture.png") -> httpx2.Response:
    url = f"{studio.settings.url}/verify"
    origin = {"Origin": studio.settings.url}
    return httpx2.post(url, files={"file": (name, content)}, headers=origin, trust_env=False)


def test_a_delivered_file_is_proved_by_signature_and_watermark(
    demo_studio: Running, delivered: bytes
) -> None:
    answer = bring(demo_studio, delivered)
    assert answer.status_code == 200
    assert "made here, by AI" in answer.text
    assert "Signed by this studio" in answer.text
    assert "carry this studio" in answer.text
    assert "Krea 2 Turbo" in answer.text


def test_a_converted_copy_is_proved_by_its_watermark_alone(
    demo_studio: Running, delivered: bytes
) -> None:
    copy = io.BytesIO()
    Image.open(io.BytesIO(delivered)).crop((5, 9, 250, 240)).save(copy, "JPEG", quality=75)
    answer = bring(demo_studio, copy.getvalue(), "copy.jpg")
    assert "made here, by AI" in answer.text
    assert "no content credentials" in answer.text


def test_a_changed_file_has_a_broken_signature(demo_studio: Running, delivered: bytes) -> None:
    changed = bring(demo_studio, delivered + b"one word more")
    assert "changed after it was signed" in changed.text
    assert "carry this studio" in changed.text, "the watermark still tells where it is from"


def test_a_strangers_picture_and_its_words_prove_nothing(
    demo_studio: Running, tmp_path: Path
) -> None:
    strangers = open_papers(tmp_path / "elsewhere", {})
    build = Build(engine="1", torch="none", diffusers="none", dtype="none", device="cpu")
    origin = Origin(models.find("pocket-turbo"), "0d9b1c4e-0000-4000-8000-000000000000", 7, build)
    answer = bring(demo_studio, stamp(MADE, origin, strangers).original)
    assert "Nothing proves that this was made here" in answer.text
    assert "That is not this studio" in answer.text
    assert "they prove nothing by themselves" in answer.text
    assert "Nothing about AI." in bring(demo_studio, png_of(MADE)).text


def test_words_in_a_file_that_cannot_be_read_are_none(demo_studio: Running) -> None:
    info, file = PngInfo(), io.BytesIO()
    info.add_itxt("atelier", "[" * 200_000)
    MADE.save(file, "PNG", pnginfo=info)
    answer = bring(demo_studio, file.getvalue())
    assert answer.status_code == 200
    assert "Nothing about AI." in answer.text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not a PNG"),
        (b"<svg onload=alert(1)></svg>", "not a PNG"),
        (png_of(MADE)[:-40], "damaged"),
        (png_of(Image.new("1", (9000, 9000))), "megapixels"),
    ],
    ids=["empty", "svg", "cut off", "huge"],
)
def test_what_is_no_picture_gets_a_sentence(
    demo_studio: Running, content: bytes, sentence: str
) -> None:
    answer = bring(demo_studio, content, "<b>evil</b>.png")
    assert answer.status_code == 422
    assert sentence in answer.text
    assert "<b>evil" not in answer.text


def test_only_this_address_takes_large_files(demo_studio: Running) -> None:
    large = b"\0" * 2_000_000
    assert bring(demo_studio, large).status_code == 422
    assert bring(demo_studio, b"\0" * (FILE_BYTES_MAX + 9000)).status_code == 413
    elsewhere = httpx2.post(f"{demo_studio.settings.url}/logout", content=large, trust_env=False)
    assert elsewhere.status_code == 413
    empty = httpx2.post(f"{demo_studio.settings.url}/verify", trust_env=False)
    assert empty.status_code == 422
