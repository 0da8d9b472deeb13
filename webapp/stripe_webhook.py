"""Where Stripe tells what happened: verified, recorded, applied; forged messages leave no trace.

No cookie and no origin: what counts is the signature over the body. The answer is 200 once a
message is recorded, whether or not it could be applied, because the studio tries again by itself.
"""

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from webapp.payment_settings import WEBHOOK_PATH
from webapp.payments import intake, provider
from webapp.studio import Studio, studio_of

SIGNATURE = "stripe-signature"

router = APIRouter()


@router.post(WEBHOOK_PATH, include_in_schema=False)
async def told(request: Request) -> Response:
    """Take one message in; 400 for one that Stripe did not sign within the last five minutes."""
    body = await request.body()
    signature = request.headers.get(SIGNATURE)
    status = await run_in_threadpool(_take, studio_of(request), body, signature)
    return JSONResponse({"status": status}, headers={"Cache-Control": "no-store"})


def _take(studio: Studio, body: bytes, signature: str | None) -> str:
    event = provider.verified(studio, body, signature)
    return intake.receive(studio.database, event)
