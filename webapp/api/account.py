"""/v1/account, /v1/models, /v1/quote: whose key it is, what it may spend and ask for."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends
from starlette.requests import Request

from inference import models, presence
from licensing import budgets, ledger, seats
from webapp import generate
from webapp.api.caller import Caller
from webapp.api.generations import require_known
from webapp.studio import Studio


def routes(studio: Studio, who: Callable[[Request], Caller]) -> APIRouter:
    """Return the routes; each asks `who` calls by itself."""
    router = APIRouter(prefix="/v1")
    By = Annotated[Caller, Depends(who)]  # noqa: N806 - a type

    @router.get("/account")
    def account(by: By) -> dict[str, Any]:
        with studio.database.read() as session:
            wallet = ledger.balance(session, by.member.organisation_id)
            organisation = seats.get_organisation(session, by.member.organisation_id)
            standing = budgets.budgets_of(session, member_id=by.member.id, api_key_id=by.key.id)
        assert organisation is not None
        return {
            "member": {"id": str(by.member.id), "name": by.member.name, "seated": by.member.seated},
            "organisation": {"id": str(organisation.id), "name": organisation.name},
            "key": {"id": str(by.key.id), "name": by.key.name},
            "balance": {
                "settled_micros": wallet.settled_micros,
                "held_micros": wallet.held_micros,
                "available_micros": wallet.available_micros,
            },
            "budgets": [
                {
                    "scope": budget.scope,
                    "period": budget.period,
                    "limit_micros": budget.limit_micros,
                    "left_micros": budget.left_micros,
                    "resets_at": budget.resets_at.isoformat(),
                }
                for budget in standing
            ],
        }

    @router.get("/models")
    def catalogue(_: By) -> dict[str, Any]:
        with studio.database.read() as session:
            return {
                "models": [
                    {
                        "id": model.id,
                        "name": model.name,
                        "steps": model.steps,
                        "guidance": model.guidance,
                        "side_min": model.side_min,
                        "side_max": model.side_max,
                        "pixels_max": model.pixels_max,
                        "unavailable": presence.problem(session, model, studio.settings.weights),
                    }
                    for model in models.CATALOGUE
                ]
            }

    @router.post("/quote")
    def quote(_: By, fields: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        require_known(fields)
        with studio.database.read() as session:
            price = generate.quote(session, fields)
        return {
            "total_micros": price.total_micros,
            "per_image_micros": price.per_image_micros,
            "images": price.images,
            "price_version": price.price_version,
        }

    return router
