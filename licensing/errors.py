"""The root of every error that a person may read.

    AtelierError            code, status, message: a sentence that helps and is safe to show
    ├── NotFound            404; missing and forbidden look the same on purpose
    ├── NotAllowed          403
    └── Conflict            409

Classes with data of their own (a missing amount, a field, a category) stand beside the code that
raises them. What is not an AtelierError is a fault of ours: the mappers answer 500 and log it.
"""

from typing import ClassVar


class AtelierError(Exception):
    """An expected refusal: `code` for programs, `status` for HTTP, `message` for people."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str) -> None:
        """Keep `message`, one or two full sentences that say what to do next."""
        super().__init__(message)
        self.message = message


class NotFound(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The thing does not exist, or it belongs to somebody else."""

    code = "not_found"
    status = 404


class NotAllowed(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The person is known, and this is not theirs to do."""

    code = "not_allowed"
    status = 403


class Conflict(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The request contradicts something that is already there."""

    code = "conflict"
    status = 409
