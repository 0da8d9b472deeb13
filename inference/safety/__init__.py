"""The filters that Krea's licence makes a condition of use: what one says, and what if it cannot.

A filter fails closed: if it cannot load or cannot judge, it raises FilterUnavailable, and no
picture is shown. No setting turns one off. This face loads no classifier.
"""

from dataclasses import dataclass
from typing import Literal

from licensing.errors import AtelierError

# What the presence of a worker and /healthz call the filters that nothing is made without.
PROMPT_FILTER, PICTURE_FILTER, BLOCK_LIST = "prompt classifier", "picture classifier", "block list"


@dataclass(frozen=True)
class ImageVerdict:
    """What a filter says to one picture.

    `allow`: show it. `review`: show it, and a reviewer looks at it. `block`: nobody but a reviewer
    sees it. `score` is 0 to 1, `category` names what was found, `source` who judged.
    """

    action: Literal["allow", "review", "block"]
    category: str | None
    score: float
    source: str


class FilterUnavailable(AtelierError):  # noqa: N818 - reads as the answer that it is
    """A filter that must judge cannot; generation stops until it is repaired."""

    code = "filter_unavailable"
    status = 503
