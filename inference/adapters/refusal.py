"""Why a LoRA file is not taken: one error, whose sentence says what to do about it."""

from typing import ClassVar

from licensing.errors import AtelierError

NAME_CHARACTERS_MAX = 80


class AdapterRefused(AtelierError):  # noqa: N818 - reads as the answer that it is
    """The file is damaged, unsafe, of another model, or of a kind that is not computed here."""

    code: ClassVar[str] = "adapter_refused"
    status: ClassVar[int] = 422


def some(names: list[str], most: int = 3) -> str:
    """The first few of `names`, cut to a length that fits a sentence, and how many more."""
    shown = ", ".join(name[:NAME_CHARACTERS_MAX] for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"
