"""Forgetting a person: their words and the salts beside them go, and the chain still verifies.

What stays is that there was a verdict, an appeal or a report, when and about what. The database's
triggers allow this one change of these tables: a word becomes empty, a salt null. Evidence that is
locked keeps its words until the lock has run out.
"""

import uuid

from sqlalchemy import text
from sqlalchemy.orm import Session

from licensing.chain import seal
from licensing.chain.sources import Source, current


def forget(session: Session, organisation_id: uuid.UUID, member_id: uuid.UUID) -> int:
    """Blank what a person said and was quoted with; returns in how many rows.

    The caller records in the history of seats that the person was forgotten, in the same
    transaction: `atelier audit verify` looks for it.
    """
    seal.lock(session, organisation_id)  # no row may be linked between its blanking and its salt's
    return sum(_blank(session, source, member_id) for source in current() if source.person)


def _blank(session: Session, source: Source, member_id: uuid.UUID) -> int:
    given = {"member_id": member_id, "kind": source.kind}
    keys = session.scalars(_BLANKING[source.kind], given).all()
    session.execute(_UNSALT, {"kind": source.kind, "keys": [str(key) for key in keys]})
    return len(keys)


_BLANKING = {
    "verdict": text(
        """
        UPDATE verdict SET excerpt = ''
         WHERE member_id = :member_id AND excerpt <> ''
           AND NOT EXISTS (SELECT 1 FROM evidence_lock
                            WHERE evidence_lock.generation_id = verdict.generation_id
                              AND keep_until > now())
           AND NOT EXISTS (SELECT 1 FROM adapter_lock
                             JOIN review_case USING (adapter_id)
                            WHERE review_case.verdict_id = verdict.id AND keep_until > now())
        RETURNING id
        """
    ),
    "appeal": text(
        """
        UPDATE appeal SET words = ''
         WHERE member_id = :member_id AND words <> ''
           AND NOT EXISTS (SELECT 1 FROM evidence_lock
                            WHERE evidence_lock.case_id = appeal.case_id AND keep_until > now())
           AND NOT EXISTS (SELECT 1 FROM adapter_lock
                            WHERE adapter_lock.case_id = appeal.case_id AND keep_until > now())
        RETURNING id
        """
    ),
    "report": text(
        """
        UPDATE report SET statement = '', name = '', contact = '', link = ''
         WHERE reporter_id = :member_id AND concat(statement, name, contact, link) <> ''
           AND NOT EXISTS (SELECT 1 FROM evidence_lock
                            WHERE evidence_lock.case_id = report.case_id AND keep_until > now())
           AND NOT EXISTS (SELECT 1 FROM adapter_lock
                            WHERE adapter_lock.case_id = report.case_id AND keep_until > now())
        RETURNING id
        """
    ),
}

_UNSALT = text(
    "UPDATE chain_link SET salt = NULL WHERE kind = :kind AND key = ANY(:keys) AND salt IS NOT NULL"
)
