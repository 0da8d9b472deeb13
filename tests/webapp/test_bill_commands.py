"""The operator closes months and writes their files by the command."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from factories import Team, team
from sqlalchemy import text

from licensing import bills
from licensing.db import Database
from webapp.cli import main


@pytest.fixture
def people(database: Database, monkeypatch: pytest.MonkeyPatch) -> Team:
    monkeypatch.setenv("DATABASE_URL", database.url)
    return team(database)


def test_a_month_is_closed_and_its_files_carry_their_hashes(
    people: Team, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["close-month", "2025-11"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Studio Nord, 2025-11: 0 lines, $0.00, closed ")
    assert main(["close-month", "2025-11", "--organisation", str(people.id)]) == 0
    assert capsys.readouterr().out == said, "closed once, shown as often as one asks"
    assert main(["export", "2025-11", "--format", "all", "--out", str(tmp_path)]) == 0
    written = capsys.readouterr().out.splitlines()
    assert len(written) == 3 * len(bills.FORMATS)
    for line in said.splitlines()[1:]:
        sha256, name = line.split()
        path = tmp_path / bills.FORMATS[name].file_name(2025, 11)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
        beside = path.with_name(f"{path.name}.sha256").read_text()
        assert beside == f"{sha256}  {path.name}\n"
        totals = json.loads(path.with_name(f"{path.name}.totals.json").read_text())
        assert (totals["status"], totals["sha256"], totals["lines"]) == ("closed", sha256, 0)


def test_what_cannot_be_closed_or_written_is_said(
    database: Database, people: Team, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime.now(UTC)
    assert main(["close-month", f"{now:%Y-%m}"]) == 1
    assert "has not ended" in capsys.readouterr().err
    assert main(["close-month", "2025-13"]) == 1
    assert "2026-11" in capsys.readouterr().err
    out = ["--out", str(tmp_path)]
    assert main(["export", "2025-11", "--format", "xlsx", *out]) == 1
    assert "Choose one of: csv, parquet" in capsys.readouterr().err
    assert main(["export", f"{now:%Y-%m}", *out]) == 0
    assert "the month is open" in capsys.readouterr().out
    team(database)
    assert main(["export", "2025-11", *out]) == 1
    assert f"Studio Nord: {people.id}." in capsys.readouterr().err
    with database.transaction() as session:
        session.execute(text("UPDATE account SET settled_micros = 1 WHERE kind = 'wallet'"))
    assert main(["export", "2025-11", "--organisation", str(people.id), *out]) == 1
    assert "Nothing was exported. Run `atelier audit`." in capsys.readouterr().err
