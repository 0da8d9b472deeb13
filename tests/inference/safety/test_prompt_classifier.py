"""The shipped prompt classifier: it loads offline, judges, and fails closed."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from inference.safety import FilterUnavailable, learned, minilm
from inference.safety.head import read_head
from inference.safety.learned import LearnedClassifier, pieces

HARMLESS = [
    "a red apple on a table",
    "a child flying a kite",
    "赤い林檎",
    "कटोरे में सेब",
    "تفاحة حمراء",
]


@pytest.fixture(scope="module")
def classifier() -> LearnedClassifier:
    classifier = LearnedClassifier()
    classifier.load()
    return classifier


def test_it_stops_what_it_was_trained_to_stop_and_nothing_else(
    classifier: LearnedClassifier,
) -> None:
    alarm = classifier.check(str(read_head().card["alarm"]))
    assert (alarm.category, alarm.source) == ("extremism", "minilm-head 3")
    assert alarm.action != "allow"
    assert 0 < alarm.score <= 1
    for prompt in HARMLESS:
        assert classifier.check(prompt).action == "allow"


def test_a_long_prompt_is_read_to_its_end(classifier: LearnedClassifier) -> None:
    far_away = "a quiet street in the rain, " * 60 + str(read_head().card["alarm"])
    assert classifier.check(far_away).action != "allow"
    assert [len(piece) for piece in pieces("x" * 900)] == [400, 400, 100]
    assert pieces("  ") == [""]


def test_the_embedding_is_of_length_one_and_says_what_is_near() -> None:
    near, same, far = minilm.Embedder().embed(["a cat", "a kitten", "tax law"])
    assert np.linalg.norm(near) == pytest.approx(1, abs=1e-5)
    assert near @ same > near @ far


def test_without_the_package_nothing_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "inference.safety.minilm", None)
    with pytest.raises(FilterUnavailable, match="not installed"):
        LearnedClassifier().check("a red apple")


def test_altered_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "SHA256", "0" * 64)
    with pytest.raises(FilterUnavailable, match="cannot load"):
        LearnedClassifier().load()


def test_a_head_that_lets_everything_through_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    head = read_head()
    deaf = replace(head, out=head.out * 0, letters=head.letters * 0, bias=head.bias * 0 - 9)
    monkeypatch.setattr(learned, "read_head", lambda: deaf)
    with pytest.raises(FilterUnavailable, match="lets through"):
        LearnedClassifier().load()


def test_a_head_of_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    head = read_head()
    monkeypatch.setattr(learned, "read_head", lambda: replace(head, out=head.out * np.nan))
    with pytest.raises(FilterUnavailable, match="no valid score"):
        LearnedClassifier().load()
