"""Why somebody cannot generate: every reason at once, in one place, for them and for an admin.

Reads only. The order is the order in which `webapp.generate.submit` would say no, so that the first
reason is the one that they would see. Called by the create page and the team page.
"""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy.orm import Session

from licensing import abuse, agreements, budgets, documents, ledger, licence, model_switches, seats
from licensing.seats import Member, Status

WhoCanFix = Literal["you", "admin", "owner", "finance", "operator"]


@dataclass(frozen=True)
class Reason:
    """One thing that stands between a member and a picture, and who can take it away."""

    code: str
    sentence: str
    who_can_fix: WhoCanFix
    href: str | None = None  # where whoever can fix it does so


def why_not(session: Session, member: Member, *, model_id: str | None = None) -> list[Reason]:
    """Return everything that keeps `member` from generating now; nothing if they can.

    With `model_id` for that model; without one, what concerns every model. `member` is read afresh.
    """
    fresh = seats.get_member(session, member.id)
    assert fresh is not None, "members are never deleted"
    return [
        *_membership(fresh),
        *([] if model_id is None else model_reasons(session, model_id)),
        *_agreements(session, fresh),
        *_refusals(session, fresh),
        *_budgets(session, fresh),
        *_money(session, fresh),
    ]


def model_reasons(session: Session, model_id: str) -> list[Reason]:
    """Why nobody can generate with a model: it is switched off, or its licence is not attested."""
    found = licence.problem(session, model_id)
    if found is None:
        return []
    href = "/licence" if isinstance(found, licence.AttestationRequired) else None
    return [Reason(found.code, found.message, "operator", href)]


def revoked_models(session: Session) -> list[str]:
    """The ids of the models that are switched off."""
    return sorted(model_switches.revoked(session))


def _membership(member: Member) -> list[Reason]:
    if member.status != Status.ACTIVE:
        return [
            Reason(
                "suspended",
                "The membership is suspended. An admin of the organisation can resume it.",
                "admin",
                "/team",
            )
        ]
    try:
        seats.require_seat(member)
    except seats.NoSeat as error:
        return [Reason(error.code, error.message, "admin", "/team")]
    return []


def _agreements(session: Session, member: Member) -> list[Reason]:
    try:
        agreements.require_accepted(session, member.id)
    except agreements.AgreementRequired as error:
        return [Reason(error.code, error.message, "you", "/agreements")]
    except documents.DocumentOverdue as error:
        return [Reason(error.code, error.message, "owner", "/agreements")]
    return []


def _refusals(session: Session, member: Member) -> list[Reason]:
    try:
        abuse.require_calm(session, member.id)
    except (abuse.CoolOff, abuse.GenerationStopped) as error:
        return [Reason(error.code, error.message, "you", "/refusals")]
    return []


def _budgets(session: Session, member: Member) -> list[Reason]:
    spent = [
        budgets.BudgetExceeded(standing, 0, [])
        for standing in budgets.budgets_of(session, member_id=member.id)
        if standing.left_micros == 0
    ]
    return [Reason(error.code, error.message, "admin", "/team") for error in spent]


def _money(session: Session, member: Member) -> list[Reason]:
    balance = ledger.balance(session, member.organisation_id)
    if balance.frozen_reason is not None:
        error = ledger.WalletFrozen(reason=balance.frozen_reason, payers=[])
        return [Reason(error.code, error.message, "finance", "/finance?view=balance")]
    if balance.spendable_micros <= 0:
        return [
            Reason(
                "insufficient_balance",
                "Your organisation's balance is used up or reserved for running jobs. Its owner or "
                "finance can top it up.",
                "finance",
                "/finance?view=balance",
            )
        ]
    return []
