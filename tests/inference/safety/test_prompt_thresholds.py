"""How the classifier's thresholds are set: on what no head had seen, with a margin for luck."""

import numpy as np
import pytest

from inference.safety.learning import thresholds
from inference.safety.learning.compose import Example


def test_a_prompt_is_judged_by_a_head_that_saw_neither_its_subject_nor_its_frame() -> None:
    examples = [
        Example(f"{subject} {frame}", "en", None, frame, subject=subject)
        for subject in ("a cat", "a dog", "a tree", "a boat", "a loaf", "a lamp")
        for frame in ("{subject}", "{subject} in ink", "a photo of {subject}", "small {subject}")
    ]
    examples += [Example("a word of hate", "en", "hate", "{slogan}")]
    times = np.zeros(len(examples), int)
    for fitted, unseen in thresholds.folds(examples):
        times[unseen] += 1
        seen = [examples[at] for at in fitted if examples[at].category is None]
        for at in unseen:
            assert examples[at].subject not in {one.subject for one in seen}
            assert examples[at].frame not in {one.frame for one in seen}
        assert len(examples) - 1 in fitted
    assert list(times) == [1] * (len(examples) - 1) + [0]


def test_the_fewer_subjects_the_fewer_may_alarm() -> None:
    # P(at most k of n alarm | 0.8 % do) is at most 5 %: tables of the binomial distribution.
    allowed = [thresholds.alarms_allowed(subjects) for subjects in (373, 590, 600, 1500)]
    assert allowed == [0, 0, 1, 6]
    with pytest.raises(ValueError, match="372 harmless subjects are too few"):
        thresholds.alarms_allowed(372)
