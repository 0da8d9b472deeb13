"""The further prompt classifiers against a local HTTP server, a stand-in for the remote ones."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from inference.safety import FilterUnavailable
from inference.safety.prompt import FURTHER, PromptFilters, PromptJudgement, Unknown, chosen
from inference.safety.prompt_endpoints import GuardClassifier, ModerationClassifier


class StandIn(ThreadingHTTPServer):
    """Answers every POST with `answer` and remembers what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.answer = 200, b"{}"
        self.asked: list[tuple[dict[str, Any], str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def say(self, answer: object, status: int = 200) -> None:
        self.status, self.answer = status, json.dumps(answer).encode()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, StandIn)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.asked.append((json.loads(body), self.headers.get("Authorization")))
        self.send_response(server.status)
        if server.status == 302:
            self.send_header("Location", server.url)
        self.send_header("Content-Length", str(len(server.answer)))
        self.end_headers()
        self.wfile.write(server.answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    server = StandIn()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def moderation(flagged: object, **scores: object) -> dict[str, Any]:
    return {"results": [{"flagged": flagged, "category_scores": scores}]}


def test_a_moderation_endpoint_blocks_doubts_and_allows(stand_in: StandIn) -> None:
    classifier = ModerationClassifier(stand_in.url, "secret", "m-1")
    stand_in.say(moderation(True, **{"sexual/minors": 0.9, "sexual": 0.8}))
    assert classifier.check("x") == PromptJudgement("block", "minors_sexual", 0.9, "moderation m-1")
    stand_in.say(moderation(False, **{"harassment/threatening": 0.6}))
    assert classifier.check("x").action == "review"
    stand_in.say(moderation(False, violence=0.1))
    assert classifier.check("a red apple") == PromptJudgement("allow", None, 0.1, "moderation m-1")
    assert stand_in.asked[-1] == ({"model": "m-1", "input": "a red apple"}, "Bearer secret")


def test_a_guard_model_blocks_by_its_code(stand_in: StandIn) -> None:
    classifier = GuardClassifier(stand_in.url, "", "guard-3")
    for said, category in (("unsafe\nS4", "minors_sexual"), ("unsafe S99,S10", "hate")):
        stand_in.say({"choices": [{"message": {"content": said}}]})
        assert classifier.check("x") == PromptJudgement("block", category, 1.0, "guard guard-3")
    stand_in.say({"choices": [{"message": {"content": "\n\nsafe"}}]})
    assert classifier.check("a red apple").action == "allow"
    asked, authorization = stand_in.asked[-1]
    assert "a red apple" in asked["messages"][0]["content"]
    assert authorization is None


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({}, 200),
        ({"results": []}, 200),
        (moderation("no", sexual=0.1), 200),
        (moderation(False, sexual=float("nan")), 200),
        (moderation(False), 200),
        ({"choices": [{"message": {"content": "perhaps"}}]}, 200),
        ({"choices": [{"message": {"content": ""}}]}, 200),
        (moderation(False, sexual=0.0), 500),
        (moderation(False, sexual=0.0), 302),
    ],
)
def test_nonsense_is_no_permission(stand_in: StandIn, answer: object, status: int) -> None:
    stand_in.say(answer, status)
    for classifier in (
        ModerationClassifier(stand_in.url, "", "m"),
        GuardClassifier(stand_in.url, "", "g"),
    ):
        with pytest.raises(FilterUnavailable, match="no picture can be made"):
            classifier.check("a red apple")


@pytest.mark.parametrize("name", ["moderation", "guard"])
@pytest.mark.parametrize("url", ["", "http://example.org/v1", "ftp://127.0.0.1", "https://"])
def test_an_endpoint_without_a_safe_address_does_not_load(name: str, url: str) -> None:
    variable = f"ATELIER_PROMPT_{name.upper()}_URL"
    with pytest.raises(FilterUnavailable, match=variable):
        FURTHER[name]({variable: url}).load()


def test_nobody_there_is_no_permission() -> None:
    with pytest.raises(FilterUnavailable):
        ModerationClassifier("http://127.0.0.1:9/v1", "", "m").check("a red apple")


def test_a_further_classifier_comes_in_addition_and_the_strictest_decides(
    stand_in: StandIn,
) -> None:
    class Floor:
        said = PromptJudgement("block", "hate", 0.9, "floor")

        def load(self) -> None:
            pass

        def check(self, _: str) -> PromptJudgement:
            return self.said

    floor = Floor()
    both = PromptFilters([floor, ModerationClassifier(stand_in.url, "", "m")])
    stand_in.say(moderation(False, sexual=0.0))
    assert both.check("x").source == "floor"
    assert stand_in.asked == [], "what is blocked already leaves no machine"
    floor.said = PromptJudgement("review", "hate", 0.9, "floor")
    assert both.check("x").source == "floor", "no other can loosen a doubt"
    stand_in.say(moderation(True, sexual=0.99))
    assert both.check("x").source == "moderation m"


def test_the_environment_adds_and_never_replaces() -> None:
    names = [type(one).__name__ for one in chosen({}).classifiers]
    assert names == ["LearnedClassifier"]
    said = {"ATELIER_PROMPT_FILTERS": " Guard, none ,moderation"}
    classifiers = chosen(said).classifiers
    assert type(classifiers[0]).__name__ == "LearnedClassifier"
    assert isinstance(classifiers[2], Unknown)
    with pytest.raises(FilterUnavailable, match="“none”"):
        classifiers[2].load()
