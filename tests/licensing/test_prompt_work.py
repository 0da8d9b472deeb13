"""Reading a prompt takes work in proportion to its length, whatever somebody sends."""

import cProfile
import pstats

import pytest

from licensing.prompt_rules import judge
from licensing.prompt_words import READINGS_MAX, readings

SHAPES = {
    "one letter": "a",
    "spelled letters": "s e x ",
    "digits and marks": "n.4-k_3*",
    "repeated term": "nude child ",
    "beginnings of terms": "how to make how to build ",
    "masks": "n*d* ",
    "brackets": "((((",
    "stacked marks": "e\u0301\u0327\u0336",
    "overrides": "\u202eab",
    "camel": "aBcD",
    "han": "裸体的",
    "kana": "ロリ",
    "arabic": "والبال",
    "devanagari": "नंगी ",
    "emoji": "🍆💦",
    "ages": "1 2 3 years ",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_twice_the_prompt_is_twice_the_work(shape: str) -> None:
    short, long = (calls(SHAPES[shape], letters) for letters in (2_000, 8_000))
    assert long <= 4.6 * short, (short, long)


def test_a_hundred_thousand_letters_are_read() -> None:
    far_away = "a quiet street in the rain " * 3_700 + "nude child"
    assert len(far_away) > 99_000
    verdict = judge(far_away, {})
    assert verdict is not None
    assert verdict[0].id == "minors-sexual"


@pytest.mark.parametrize("shape", SHAPES)
def test_the_readings_are_bounded(shape: str) -> None:
    assert len(readings(SHAPES[shape] * 50)) <= READINGS_MAX
    assert len(readings("aB \u202e c1 4.d (e " + SHAPES[shape])) <= READINGS_MAX


def calls(shape: str, letters: int) -> int:
    """Count the function calls that judging takes: unlike seconds, the same on every machine."""
    prompt = (shape * letters)[:letters]
    judge("warm up", {})
    profile = cProfile.Profile()
    profile.runcall(judge, prompt, {})
    stats = pstats.Stats(profile)
    return int(stats.total_calls)  # type: ignore[attr-defined]
