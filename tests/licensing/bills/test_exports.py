"""The files of a month say the same in every format, and FOCUS says where the money went."""

import hashlib
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from books import NOVEMBER, file, refund, rows, use
from factories import Team, fund, team
from focus_check import validate
from sqlalchemy import text

from licensing import bills, ledger, teams
from licensing.db import Database

TODAY = datetime.now(UTC)


def a_month_with_everything(database: Database) -> Team:
    people = team(database, balance_micros=100_000_000)
    with database.transaction() as session:
        film = teams.create(session, people.owner, name="=Film & Ton", cost_centre="CC-7")
    for unit in (15_000, 17_500, 20_000, 35_000, 120_000):
        use(database, people.creator, TODAY, unit_price_micros=unit, images=7)
        paid = use(
            database,
            people.creator,
            TODAY,
            unit_price_micros=unit,
            images=3,
            project='Frühling "A"',
            team_id=film.id,
        )
    refund(database, paid, 10_000)
    old = use(database, people.creator, NOVEMBER)
    refund(database, old, 5_000)
    with database.transaction() as session:
        top_up = session.execute(text("SELECT key FROM transfer WHERE kind = 'top_up'"))
        ledger.grant(
            session,
            people.id,
            5_000_000,
            key="g",
            author_id=None,
            note="welcome",
            expires_at=None,
        )
        ledger.adjust(session, people.id, -500_000, key="a", author_id=None, reason="oops")
        ledger.refund_top_up(
            session,
            people.id,
            1_000_000,
            top_up_key=top_up.scalar_one().removeprefix("top_up:"),
            key="r",
            author_id=None,
            note="",
        )
        session.execute(
            text(
                "INSERT INTO payment_invoice (id, organisation_id, kind, amount_micros, state,"
                " invoice_id, created_at, asked_at) VALUES"
                " (gen_random_uuid(), :id, 'seats', 120000000, 'open', 'in_1', now(), now())"
            ),
            {"id": people.id},
        )
    return people


def test_parquet_and_csv_say_the_same(database: Database) -> None:
    people = a_month_with_everything(database)
    for name in ("csv", "focus-1.2.csv", "focus-1.4.csv"):
        lines = rows(file(database, people.id, TODAY, name))
        packed = file(database, people.id, TODAY, name.removesuffix("csv") + "parquet")
        table = pq.read_table(io.BytesIO(packed)).to_pylist()
        assert len(table) == len(lines) > 10
        for line, record in zip(lines, table, strict=True):
            assert line.keys() == record.keys()
            for column, value in record.items():
                words = line[column].removeprefix("'")
                if isinstance(value, datetime):
                    assert datetime.fromisoformat(words) == value
                elif isinstance(value, int | Decimal):
                    assert Decimal(words) == value
                else:
                    assert words == (value or ""), column


def test_focus_sums_are_what_was_paid_what_was_used_and_what_is_left(database: Database) -> None:
    people = a_month_with_everything(database)
    export = bills.export(database, people.id, TODAY.year, TODAY.month, "focus-1.2.csv")
    found = rows(b"".join(export.chunks()))
    totals = json.loads(export.totals_json)

    def micros(column: str, *categories: str) -> int:
        amounts = [
            Decimal(row[column])
            for row in found
            if not categories or row["ChargeCategory"] in categories
        ]
        return int(sum(amounts, Decimal()) * 1_000_000)

    assert micros("BilledCost") == 100_000_000 - 1_000_000 + 120_000_000
    assert micros("EffectiveCost") == totals["amount_micros"] + 120_000_000
    change = totals["closing_micros"] - totals["opening_micros"]
    assert micros("x_BalanceChange") == change
    with database.read() as session:
        assert totals["closing_micros"] == ledger.balance(session, people.id).settled_micros
    assert micros("BilledCost", "Usage", "Credit") == 0
    by_invoice = {row["InvoiceId"] for row in found}
    assert by_invoice == {f"statement-{TODAY:%Y-%m}", "in_1"}
    classes = {row["x_SettledAt"][:7] for row in found if row["ChargeClass"] == "Correction"}
    assert classes == {f"{TODAY:%Y-%m}"}, "a correction of an earlier month, and only that"
    assert len([row for row in found if row["ChargeClass"] == "Correction"]) == 1


def test_focus_names_no_people_and_its_versions_differ_by_providers(database: Database) -> None:
    people = team(database)
    use(database, people.creator)
    old, new = (file(database, people.id, name=f"focus-{v}.csv") for v in ("1.2", "1.4"))
    for content in (old, new):
        assert people.creator.name.encode() not in content
        assert people.creator.email.encode() not in content
    gone, come = set(rows(old)[0]) - set(rows(new)[0]), set(rows(new)[0]) - set(rows(old)[0])
    assert gone == {"ProviderName", "PublisherName"}
    assert come == {"ServiceProviderName", "HostProviderName", "InvoiceDetailId"}
    names = list(rows(new)[0])
    assert names == sorted(names, key=lambda name: (name.startswith("x_"), name))


def test_hash_and_totals_stand_beside_each_file(database: Database, tmp_path: Path) -> None:
    people = team(database)
    use(database, people.creator, images=2)
    with database.transaction() as session:
        fund(session, people.organisation, 5_000_000)
    export = bills.export(database, people.id, 2025, 11, "parquet")
    paths = bills.write_files(export, tmp_path)
    assert [path.name for path in paths] == [
        "atelier-usage-2025-11.parquet",
        "atelier-usage-2025-11.parquet.sha256",
        "atelier-usage-2025-11.parquet.totals.json",
    ]
    sha256 = hashlib.sha256(paths[0].read_bytes()).hexdigest()
    assert paths[1].read_text() == f"{sha256}  atelier-usage-2025-11.parquet\n"
    totals = json.loads(paths[2].read_text())
    assert (totals["sha256"], totals["rows"], totals["images"]) == (sha256, 1, 2)


@pytest.mark.nightly
@pytest.mark.filterwarnings("default")
def test_the_public_validators_pass_the_files(
    database: Database, tmp_path_factory: pytest.TempPathFactory
) -> None:
    people = a_month_with_everything(database)
    folder = tmp_path_factory.mktemp("focus")
    for name in ("focus-1.2.csv", "focus-1.2.parquet", "focus-1.4.csv"):
        export = bills.export(database, people.id, TODAY.year, TODAY.month, name)
        [path, *_] = bills.write_files(export, folder)
        assert validate(folder / "validators", path) == []
