"""Old books become lots: every earlier charge finds the top-up that paid it, and back again."""

import uuid

import psycopg
import pytest

from licensing import ledger
from licensing.audit import audit
from licensing.db import Database
from migrations.run import downgrade, upgrade

BEFORE, AFTER = "0004_hold_member", "0005_lots"
TOP_UPS = (100, 50, 200)
CHARGES = (30, 80, 40, 150)  # the second lies over two top-ups, the fourth begins a third


def old_books(connection: psycopg.Connection) -> uuid.UUID:
    """Write an organisation's books as the older ledger kept them, one hold still open."""
    organisation, member = uuid.uuid4(), uuid.uuid4()
    accounts = {kind: uuid.uuid4() for kind in ("wallet", "cash", "revenue")}
    settled = sum(TOP_UPS) - sum(CHARGES)
    run = connection.execute
    run("INSERT INTO organisation VALUES (%s, 'Old', 'business', 5, now())", [organisation])
    run(
        "INSERT INTO member VALUES (%s, %s, 'i', %s, 'm@old.example', 'M', 'creator', 'active',"
        " true, now())",
        [member, organisation, str(member)],
    )
    for kind, account in accounts.items():
        figures = (settled, 7) if kind == "wallet" else (0, 0)
        run(
            "INSERT INTO account VALUES (%s, %s, %s, %s, %s)",
            [account, organisation, kind, *figures],
        )
    for number, amount in enumerate(TOP_UPS):
        run(
            "INSERT INTO transfer (organisation_id, kind, source_id, destination_id,"
            " amount_micros, key, note, at) VALUES (%s, 'top_up', %s, %s, %s, %s, '', now())",
            [organisation, accounts["cash"], accounts["wallet"], amount, f"top_up:{number}"],
        )
    for amount in (*CHARGES, None):
        hold, generation = uuid.uuid4(), uuid.uuid4()
        run(
            "INSERT INTO hold (id, organisation_id, account_id, member_id, generation_id,"
            " amount_micros, price_version, state, settled_micros, created_at, expires_at,"
            " resolved_at) VALUES (%s, %s, %s, %s, %s, %s, 'v', %s, %s, now(),"
            " now() + interval '1 day', CASE WHEN %s THEN now() END)",
            [
                *(hold, organisation, accounts["wallet"], member, generation),
                *(amount or 7, "settled" if amount else "held", amount, amount is not None),
            ],
        )
        if amount is not None:
            run(
                "INSERT INTO transfer (organisation_id, kind, source_id, destination_id,"
                " amount_micros, key, hold_id, note, at)"
                " VALUES (%s, 'settle', %s, %s, %s, %s, %s, '', now())",
                [
                    *(organisation, accounts["wallet"], accounts["revenue"], amount),
                    *(f"settle:{hold}", hold),
                ],
            )
            run(
                "INSERT INTO usage_line (generation_id, organisation_id, member_id, member_name,"
                " member_email, model, images, width, height, amount_micros, price_version, at)"
                " VALUES (%s, %s, %s, 'M', 'm', 'pocket-turbo', 1, 128, 128, %s, 'v', now())",
                [generation, organisation, member, amount],
            )
    return organisation


def test_old_charges_find_the_top_ups_that_paid_them(database: Database, database_url: str) -> None:
    downgrade(database_url, BEFORE)
    with psycopg.connect(database_url) as connection:
        organisations = [old_books(connection) for _ in range(2)]
    upgrade(database_url)
    with database.read() as session:
        assert audit(session) == []
        for organisation in organisations:
            lots = ledger.lots(session, organisation, limit=9)
            assert sorted(lot.remaining_micros for lot in lots) == [0, 0, 50]
    with psycopg.connect(database_url) as connection:
        spends = connection.execute(
            "SELECT charge.amount_micros, lot.amount_micros, lot_spend.amount_micros"
            " FROM lot_spend JOIN lot ON lot.id = lot_id JOIN transfer AS charge"
            " ON charge.id = lot_spend.transfer_id WHERE lot.organisation_id = %s"
            " ORDER BY charge.id, lot.transfer_id",
            [organisations[0]],
        ).fetchall()
    assert spends == [(30, 100, 30), (80, 100, 70), (80, 50, 10), (40, 50, 40), (150, 200, 150)]
    downgrade(database_url, BEFORE)
    upgrade(database_url)
    with database.read() as session:
        assert audit(session) == []


def test_going_down_throws_no_money_away(database: Database, database_url: str) -> None:
    downgrade(database_url, AFTER)
    with psycopg.connect(database_url) as connection:
        organisation = old_books_of_now(connection)
    with pytest.raises(Exception, match="no row of money is thrown away"):
        downgrade(database_url, BEFORE)
    with psycopg.connect(database_url) as connection:
        (count,) = connection.execute("SELECT count(*) FROM transfer").fetchone() or (0,)
    assert count == 1, organisation
    upgrade(database_url)
    with database.read() as session:
        assert ledger.balance(session, organisation).settled_micros == 0


def old_books_of_now(connection: psycopg.Connection) -> uuid.UUID:
    """Write a movement that the older ledger does not know: a gift."""
    organisation = uuid.uuid4()
    connection.execute(
        "INSERT INTO organisation VALUES (%s, 'New', 'business', 5, now())", [organisation]
    )
    accounts = {kind: uuid.uuid4() for kind in ("wallet", "promotion")}
    for kind, account in accounts.items():
        connection.execute(
            "INSERT INTO account VALUES (%s, %s, %s, 0, 0)", [account, organisation, kind]
        )
    connection.execute(
        "INSERT INTO transfer (organisation_id, kind, source_id, destination_id, amount_micros,"
        " key, note, at) VALUES (%s, 'grant', %s, %s, 5, 'grant:x', '', now())",
        [organisation, accounts["promotion"], accounts["wallet"]],
    )
    return organisation
