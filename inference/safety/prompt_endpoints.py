"""Further prompt classifiers that run elsewhere: a moderation endpoint, a guard model in a chat.

ATELIER_PROMPT_FILTERS names them: `moderation` speaks OpenAI's moderation API at
ATELIER_PROMPT_MODERATION_URL, `guard` the chat-completions API at ATELIER_PROMPT_GUARD_URL to a
model of Llama Guard's kind, which answers `safe`, or `unsafe` and its codes. `_KEY` and `_MODEL` go
with each. Prompts leave the machine with a remote one: the operator chose so, and should say so to
members. Redirects are not followed; no answer in time, or nonsense, judges nothing, and then
nothing is made.
"""

import http.client
import json
import math
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from inference.safety import FilterUnavailable
from inference.safety.prompt import PromptJudgement

SECONDS_MAX = 5.0
ANSWER_BYTES_MAX = 1 << 20
REVIEW_SCORE = 0.5
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})

# OpenAI's categories as ours, by the longest beginning; what is flagged and not here is "other".
MODERATION_CATEGORIES = {
    "sexual/minors": "minors_sexual",
    "sexual": "sexual",
    "hate": "hate",
    "harassment": "harassment",
    "self-harm": "self_harm",
    "violence": "graphic_violence",
    "illicit": "illegal_goods",
}
# The hazards of Llama Guard 3 (MLCommons) as ours.
GUARD_CATEGORIES = {
    "S1": "graphic_violence",
    "S2": "illegal_goods",
    "S3": "ncii",
    "S4": "minors_sexual",
    "S5": "harassment",
    "S8": "rights",
    "S9": "weapons",
    "S10": "hate",
    "S11": "self_harm",
    "S12": "sexual",
    "S13": "election_deception",
}
_FAULTS = (
    OSError,
    http.client.HTTPException,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
)


class ModerationClassifier:
    """Judges prompts by an OpenAI-compatible moderation endpoint."""

    def __init__(self, url: str, key: str, model: str) -> None:
        """Remember where; ask nobody yet."""
        self._url, self._key, self._model = url, key, model

    def load(self) -> None:
        """Check the address. Raises `FilterUnavailable`."""
        _require_address(self._url, "ATELIER_PROMPT_MODERATION_URL")

    def check(self, prompt: str) -> PromptJudgement:
        """Ask about one prompt. Raises `FilterUnavailable`."""
        self.load()
        source = f"moderation {self._model}"
        try:
            answer = _ask(self._url, self._key, {"model": self._model, "input": prompt})
            result = answer["results"][0]
            is_flagged = result["flagged"]
            name, score = max(
                ((str(name), float(value)) for name, value in result["category_scores"].items()),
                key=lambda found: found[1],
            )
        except _FAULTS as error:
            raise _no_answer("moderation endpoint") from error
        if not isinstance(is_flagged, bool) or not 0 <= score <= 1 or math.isnan(score):
            raise _no_answer("moderation endpoint")
        if is_flagged:
            return PromptJudgement("block", _ours(name), score, source)
        if score >= REVIEW_SCORE:
            return PromptJudgement("review", _ours(name), score, source)
        return PromptJudgement("allow", None, score, source)


class GuardClassifier:
    """Judges prompts by a guard model behind a chat-completions endpoint."""

    def __init__(self, url: str, key: str, model: str) -> None:
        """Remember where; ask nobody yet."""
        self._url, self._key, self._model = url, key, model

    def load(self) -> None:
        """Check the address. Raises `FilterUnavailable`."""
        _require_address(self._url, "ATELIER_PROMPT_GUARD_URL")

    def check(self, prompt: str) -> PromptJudgement:
        """Ask about one prompt. Raises `FilterUnavailable`."""
        self.load()
        source = f"guard {self._model}"
        asked = {
            "model": self._model,
            "messages": [{"role": "user", "content": f"Draw a picture: {prompt}"}],
            "temperature": 0,
            "max_tokens": 32,
        }
        try:
            answer = _ask(self._url, self._key, asked)
            said = str(answer["choices"][0]["message"]["content"]).split()
            verdict = said[0].lower()
        except _FAULTS as error:
            raise _no_answer("guard model") from error
        if verdict == "safe":
            return PromptJudgement("allow", None, 0.0, source)
        if verdict != "unsafe":
            raise _no_answer("guard model")
        codes = [code for word in said[1:] for code in word.split(",") if code]
        category = next((GUARD_CATEGORIES[c] for c in codes if c in GUARD_CATEGORIES), "other")
        return PromptJudgement("block", category, 1.0, source)


def _ours(name: str) -> str:
    best = max(
        (beginning for beginning in MODERATION_CATEGORIES if name.startswith(beginning)),
        key=len,
        default=None,
    )
    return MODERATION_CATEGORIES[best] if best else "other"


def _require_address(url: str, variable: str) -> None:
    parts = urlsplit(url)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOCAL)
    if not is_safe or not parts.hostname:
        raise FilterUnavailable(
            f"A further prompt filter was asked for, but {variable} is no https address, so no "
            "picture can be made."
        )


def _no_answer(name: str) -> FilterUnavailable:
    return FilterUnavailable(
        f"The {name} gave no answer about this prompt, so no picture can be made. Nothing was "
        "charged; try again later."
    )


def _ask(url: str, key: str, asked: dict[str, Any]) -> Any:
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(  # noqa: S310 - `load` has checked the scheme
        url, json.dumps(asked).encode(), headers, method="POST"
    )
    with _OPENER.open(request, timeout=SECONDS_MAX) as answer:
        return json.loads(answer.read(ANSWER_BYTES_MAX))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is no answer: it could lead a prompt, and the key, anywhere."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


_OPENER = urllib.request.build_opener(_NoRedirect)
