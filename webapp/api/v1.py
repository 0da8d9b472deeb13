"""Version 1 of the API put together: its routes, all asking one reader of keys."""

from fastapi import APIRouter

from webapp.api import account, caller, generations
from webapp.studio import Studio


def routes(studio: Studio) -> APIRouter:
    """Return everything under /v1."""
    who = caller.reader(studio)
    router = APIRouter()
    for part in (generations, account):
        router.include_router(part.routes(studio, who))
    return router
