"""`atelier block-list`: feeds come and go by the command, and one picture can be blocked."""

from pathlib import Path

import pytest
from factories import team
from PIL import Image

from licensing.db import Database
from webapp.cli import main

PICTURE = Image.effect_mandelbrot((256, 256), (-2.1, -1.3, 0.7, 1.3), 60).convert("RGB")


@pytest.fixture(autouse=True)
def studio(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database.url)
    team(database)


def say(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    status = main(["block-list", *map(str, words)])
    told = capsys.readouterr()
    assert (status == 0) == (told.err == ""), told
    return told.out + told.err


def test_a_feed_is_imported_replaced_and_dropped(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "is empty" in say(capsys)
    feed = tmp_path / "feed.txt"
    feed.write_text("# a feed\n" + "".join(f"{number:064x},100\n" for number in range(1, 4)))
    named = ("--name", "industry", "--category", "csam")
    assert "3 hashes of “industry” are new." in say(capsys, "import", feed, *named)
    assert "0 hashes" in say(capsys, "import", feed, *named)
    feed.write_text(f"{2:064x}\n{9:064x}\n")
    told = say(capsys, "import", feed, *named, "--replace")
    assert "1 hashes of “industry” are new, 2 were taken off." in told
    assert say(capsys, "list").split() == ["2", "industry", "(minors_sexual),", "everybody"]
    feed.write_text("not a hash\n")
    assert "Line 1 is not a PDQ hash" in say(capsys, "import", feed, *named, "--replace")
    assert "2  industry" in say(capsys, "list"), "whole or not at all"
    assert "2 hashes" in say(capsys, "drop", "industry")
    assert "No feed named" in say(capsys, "drop", "industry")
    assert "needs a name" in say(
        capsys, "import", feed, "--name", "reviewer", "--category", "known"
    )


def test_one_picture_is_blocked_for_everybody(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    picture, plain = tmp_path / "picture.webp", tmp_path / "plain.png"
    PICTURE.save(picture)
    Image.new("RGB", (64, 64), "white").save(plain)
    assert "is blocked now" in say(capsys, "block", picture, "--category", "harassment")
    assert "was blocked already" in say(capsys, "block", picture, "--category", "harassment")
    assert "1  operator (harassment)" in say(capsys, "list")
    assert "too plain" in say(capsys, "block", plain, "--category", "harassment")
    assert "cannot be read" in say(capsys, "block", tmp_path / "absent", "--category", "ncii")
    assert "There is no category “csma”." in say(capsys, "block", picture, "--category", "csma")
