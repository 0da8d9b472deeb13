"""What Stripe answers when it does not do as asked; `api` turns these into its JSON.

StripeProblem                 400 invalid_request_error, nothing has changed
├── NoSuchObject              404 resource_missing
├── WrongKey                  401, the key is not this stand-in's
├── KeyReused                 400 idempotency_error
└── CardProblem               402 card_error; what the attempt left behind stays (a failed charge)
"""

from typing import Any


class StripeProblem(Exception):  # noqa: N818 - reads as the answer that it is
    """The request cannot be carried out; the sentence names the parameter and what is wrong."""

    status = 400
    type = "invalid_request_error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code

    def as_json(self) -> dict[str, Any]:
        error = {"type": self.type, "message": self.message, "code": self.code, "param": self.param}
        return {"error": {name: value for name, value in error.items() if value is not None}}


class NoSuchObject(StripeProblem):
    """The id names nothing, or something of another kind."""

    status = 404

    def __init__(self, kind: str, object_id: str, param: str = "id") -> None:
        super().__init__(f"No such {kind}: '{object_id}'", param=param, code="resource_missing")


class WrongKey(StripeProblem):
    """The request bears no key, or one that belongs somewhere else."""

    status = 401


class KeyReused(StripeProblem):
    """An idempotency key came back with another request."""

    type = "idempotency_error"


class CardProblem(StripeProblem):
    """The card's bank said no, or wants its holder to be asked; `extra` is what Stripe adds."""

    status = 402
    type = "card_error"

    def __init__(self, message: str, *, code: str, decline_code: str | None, **extra: Any) -> None:
        super().__init__(message, code=code)
        self.decline_code = decline_code
        self.extra = extra

    def as_json(self) -> dict[str, Any]:
        error = super().as_json()["error"]
        if self.decline_code is not None:
            error["decline_code"] = self.decline_code
        return {"error": {**error, **self.extra}}
