"""Whatever way a picture leaves, it leaves as signed: page, download, thumbnail, API, ZIP."""

import io
import zipfile
from contextlib import ExitStack

import pytest
from atelier_at_work import Work, open_work
from PIL import Image

from inference import models
from inference.engine import Build
from inference.generations import Generation
from inference.provenance.papers import Papers, open_papers
from inference.provenance.proof import examine
from inference.provenance.stamp import SETTINGS_KEY, Origin, stamp
from inference.settings import papers_folder
from licensing import api_keys, roster
from webapp import departures

LARGE = Image.effect_mandelbrot((1024, 768), (-2.1, -1.3, 0.7, 1.3), 60).convert("RGB")
BUILD = Build(engine="1", torch="none", diffusers="none", dtype="none", device="cpu")


@pytest.fixture
def work(stack: ExitStack, environ: dict[str, str]) -> Work:
    return open_work(stack, environ)


@pytest.fixture
def papers(work: Work) -> Papers:
    return open_papers(papers_folder(work.running.settings.state), {})


@pytest.fixture
def job(work: Work, papers: Papers) -> Generation:
    """A finished picture whose files are those that a worker writes."""
    made = work.finished()
    (picture,) = made.pictures
    origin = Origin(models.find("krea-2-turbo"), str(made.id), picture.seed, BUILD)
    files = stamp(LARGE, origin, papers)
    assert picture.key is not None
    assert picture.thumbnail_key is not None
    work.running.studio.storage.put(picture.key, files.original)
    work.running.studio.storage.put(picture.thumbnail_key, files.thumbnail)
    return made


def test_every_way_out_keeps_watermark_metadata_and_signature(
    work: Work, papers: Papers, job: Generation
) -> None:
    (picture,) = job.pictures
    page = work.client()
    with work.running.database.transaction() as session:
        key, token = api_keys.create(session, work.member, name="a program")
    assert key.id
    program = work.running.browser(authorization=f"Bearer {token}")
    ways = {
        "page": page.get(f"/media/{picture.id}"),
        "download": page.get(f"/media/{picture.id}", params={"download": "1"}),
        "thumbnail": page.get(f"/media/{picture.id}/thumbnail"),
        "API": program.get(f"/v1/generations/{job.id}/pictures/0"),
        "API thumbnail": program.get(f"/v1/generations/{job.id}/pictures/0/thumbnail"),
    }
    assert {way: answer.status_code for way, answer in ways.items()} == dict.fromkeys(ways, 200)
    delivered = {way: answer.content for way, answer in ways.items()}
    delivered["ZIP"] = _out_of_the_zip(work)
    for way, content in delivered.items():
        evidence = examine(content, papers)
        assert evidence.signature is not None, way
        assert evidence.signature.is_intact, way
        assert evidence.signature.is_ours, way
        assert str(job.id) in str(evidence.signature.claims), way
        assert evidence.says_ai, way
        assert evidence.watermark.is_marked, way


def _out_of_the_zip(work: Work) -> bytes:
    admin = work.running.member("demo-admin")
    with work.running.database.transaction() as session:
        roster.suspend(session, admin, work.member.id)
    _, parts = departures.export(work.running.studio, admin, work.member.id)
    with zipfile.ZipFile(io.BytesIO(b"".join(parts))) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".png"))
        return archive.read(name)


def test_only_models_of_the_family_carry_its_name(papers: Papers) -> None:
    for model in models.CATALOGUE:
        stamped = stamp(LARGE.resize((256, 192)), Origin(model, "an-id", 1, BUILD), papers)
        info = Image.open(io.BytesIO(stamped.original)).info
        everything = (
            f"{info['Comment']} {info[SETTINGS_KEY]} {info['XML:com.adobe.xmp']}"
            f" {examine(stamped.thumbnail, papers).signature}"
        )
        is_of_the_family = model.id.startswith("krea-2")
        assert model.name.startswith("Krea 2") == is_of_the_family
        assert ("Krea" in everything) == is_of_the_family, model.id
        assert model.name in everything


def test_whatever_is_done_to_a_file_afterwards_costs_its_signature(papers: Papers) -> None:
    origin = Origin(models.find("pocket-turbo"), "an-id", 1, BUILD)
    content = stamp(LARGE.resize((256, 192)), origin, papers).original
    saved = io.BytesIO()
    Image.open(io.BytesIO(content)).save(saved, "PNG")
    again = examine(saved.getvalue(), papers)
    assert again.signature is None
    assert again.watermark.is_marked
