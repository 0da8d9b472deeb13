"""The shipped evaluation: big enough, disjoint, always the same; the rules hold its bars."""

from inference.safety.learning import compose, evaluate
from inference.safety.learning.compose import CATEGORIES, NEVER
from licensing.moderation import check_prompt
from licensing.prompt_terms import LANGUAGES


def test_training_and_test_share_nothing() -> None:
    evaluate.require_disjoint()
    seen = {
        example.text
        for example in (
            *compose.harmful("train", each=12, hidden_share=0.0, seed=1),
            *compose.harmless("train", each=50, seed=1),
        )
    }
    judged = compose.harmful("test", each=12, hidden_share=0.0, seed=1)
    assert not seen & {example.text for example in judged}


def test_the_sets_are_as_large_as_promised_and_always_the_same() -> None:
    harmful = compose.harmful(
        "test", each=evaluate.EACH_HARMFUL, hidden_share=evaluate.HIDDEN_SHARE, seed=evaluate.SEED
    )
    harmless = compose.harmless("test", each=evaluate.EACH_HARMLESS, seed=evaluate.SEED)
    by_hand = compose.written("by_hand")
    assert min(len({x.text for x in harmful}), len({x.text for x in harmless})) >= 2_000
    assert {(x.category, x.language) for x in harmful} == {
        (category, language) for category in CATEGORIES for language in LANGUAGES
    }
    assert len(by_hand) >= 150
    assert harmful == compose.harmful(
        "test", each=evaluate.EACH_HARMFUL, hidden_share=evaluate.HIDDEN_SHARE, seed=evaluate.SEED
    )


def test_the_rules_alone_hold_the_bars() -> None:
    harmful = compose.harmful("test", each=15, hidden_share=0.3, seed=evaluate.SEED)
    for category in CATEGORIES:
        rows = [one for one in harmful if one.category == category]
        missed = [one.text for one in rows if check_prompt(one.text).action == "allow"]
        bar = evaluate.MISSES_NEVER_MAX if category in NEVER else evaluate.MISSES_MAX
        assert len(missed) <= bar * len(rows), missed
    harmless = compose.harmless("test", each=120, seed=evaluate.SEED)
    alarms = [one.text for one in harmless if check_prompt(one.text).action != "allow"]
    assert len(alarms) <= evaluate.ALARMS_MAX * len(harmless), alarms
