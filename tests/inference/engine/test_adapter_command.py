"""`atelier render --lora`: a LoRA file at the command line, with nothing kept of it."""

import hashlib
import json
from pathlib import Path

import pytest
from lora_layouts import LINE
from PIL import Image

from webapp.cli import main

PROMPT = ["render", "a red apple", "--seed", "1", "--width", "128", "--height", "128"]


@pytest.fixture(autouse=True)
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_STATE", str(tmp_path / "state"))


def render(out: Path, *loras: str) -> Image.Image:
    options = [word for lora in loras for word in ("--lora", lora)]
    assert main([*PROMPT, "--out", str(out), *options]) == 0
    with Image.open(out) as picture:
        picture.load()
    return picture


def test_a_lora_file_draws_at_the_strength_that_stands_behind_it(tmp_path: Path) -> None:
    plain = render(tmp_path / "plain.png")
    whole = render(tmp_path / "whole.png", str(LINE))
    half = render(tmp_path / "half.png", f"{LINE}:0.5")
    assert len({picture.tobytes() for picture in (plain, whole, half)}) == 3
    assert "loras" not in json.loads(plain.info["atelier"])
    (named,) = json.loads(half.info["atelier"])["loras"]
    assert named == {"sha256": hashlib.sha256(LINE.read_bytes()).hexdigest(), "strength": 0.5}


def test_a_file_that_is_no_lora_is_told_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong, out = tmp_path / "style:v2.safetensors", tmp_path / "apple.png"
    wrong.write_bytes(b"PK\x03\x04 a zip of pickles")
    for lora, sentence in {
        str(wrong): "This is a pickle",
        str(tmp_path / "nowhere.safetensors"): "cannot be read: No such file",
        f"{LINE}:7": "strength",
    }.items():
        assert main([*PROMPT, "--out", str(out), "--lora", lora]) == 1
        told = capsys.readouterr().err
        assert sentence in told
        assert "Loading" not in told
    assert not out.exists()
