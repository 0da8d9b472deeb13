"""The postman: signs events as Stripe signs them and brings them to the webhook, again if need be.

A message that the webhook does not take (anything but 2xx) is brought again after a while, as at
Stripe, only sooner. Messages that are held wait until somebody sends them from the control page.
"""

import asyncio
import hashlib
import hmac
import json
import time
from contextlib import suppress

import httpx2

from webapp.stripe_standin import clock
from webapp.stripe_standin.store import Object, Store

RETRY_SECONDS = (1, 5, 30, 300, 3600)  # after each failed attempt; then it is given up
ANSWER_SECONDS_MAX = 20.0  # Stripe waits about as long for a webhook's answer
NAP_SECONDS_MAX = 30.0  # the clock's own events, such as a page that runs out, are noticed in time
ANSWER_LENGTH_MAX = 300  # of a webhook's answer, kept for the control page


class Postman:
    """Brings the store's messages to `target`, signed with `secret`."""

    def __init__(self, store: Store, target: str, secret: str) -> None:
        self._store = store
        self._target = target
        self._secret = secret
        self._bell = asyncio.Event()
        self._client = httpx2.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS_MAX)

    def ring(self) -> None:
        """Say that there may be something to bring."""
        self._bell.set()

    async def work(self) -> None:
        """Bring what is due, for as long as the process runs."""
        while True:
            clock.catch_up(self._store)
            self._store.save()
            await self.bring_due()
            nap = self._seconds_to_next()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._bell.wait(), nap)
            self._bell.clear()

    async def bring_due(self) -> None:
        """Bring each waiting message whose time has come, oldest first."""
        for message in list(self._store.messages):
            if message["status"] == "waiting" and message["due_at"] <= time.time():
                await self.bring(message["id"])

    async def bring(self, message_id: str) -> int:
        """Bring one message now; return the webhook's status, 0 if it did not answer."""
        message = self._message(message_id)
        event = self._store.objects[message["event"]]
        status, answer = await self.send(event)
        # Other requests ran meanwhile, and one that failed may have read the store anew.
        message, event = self._message(message_id), self._store.objects[message["event"]]
        message["attempts"] += 1
        message["answer"] = f"{status} {answer}".strip()
        if 200 <= status < 300:  # noqa: PLR2004 - as HTTP says it
            message["status"] = "delivered"
            event["pending_webhooks"] = 0
        elif message["attempts"] > len(RETRY_SECONDS):
            message["status"] = "given_up"
        else:
            message["status"] = "waiting"
            message["due_at"] = time.time() + RETRY_SECONDS[message["attempts"] - 1]
        self._store.save()
        return status

    async def send(
        self, event: Object, *, secret: str | None = None, seconds_ago: int = 0
    ) -> tuple[int, str]:
        """Post an event, signed now or `seconds_ago`, with our secret or a wrong one."""
        payload = json.dumps(event, indent=2)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(
                payload, secret or self._secret, int(time.time()) - seconds_ago
            ),
            "User-Agent": "Stripe/1.0 (stand-in of Atelier)",
        }
        try:
            answer = await self._client.post(self._target, content=payload, headers=headers)
        except httpx2.HTTPError as error:
            return 0, type(error).__name__
        return answer.status_code, answer.text[:ANSWER_LENGTH_MAX]

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    def _message(self, message_id: str) -> Object:
        return next(m for m in self._store.messages if m["id"] == message_id)

    def _seconds_to_next(self) -> float:
        waiting: list[float] = [
            m["due_at"] for m in self._store.messages if m["status"] == "waiting"
        ]
        return min([NAP_SECONDS_MAX, *(max(0.05, at - time.time()) for at in waiting)])


def signature(payload: str, secret: str, at: int) -> str:
    """Return the header by which the SDK knows that a webhook is Stripe's (scheme v1)."""
    signed = hmac.new(secret.encode(), f"{at}.{payload}".encode(), hashlib.sha256)
    return f"t={at},v1={signed.hexdigest()}"
