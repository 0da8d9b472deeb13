"""From which score on the prompt classifier doubts: set from harmless prompts of the training side.

Each script by itself: the letters of a script that the embedding cannot read are all a head has
there, and an unknown word says more or less by chance. A harmless prompt is judged by a head that
had seen neither its subject nor its frame. The categories of a script share one bar, counted in
deviations of their own harmless logits, because ten bars drawn from one set each would be wrong ten
times as often. The bar lies where, of the subjects of that script, no more alarm than leaves it
unlikely (5 %) that more than ALARMS_MAX of all subjects would: one that alarms by luck of the draw
is allowed for, and half of the evaluation's bar of 1.5 % is left to subjects of another kind.
"""

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from inference.safety import learned
from inference.safety.head import Head, Vectors
from inference.safety.learning.compose import CATEGORIES, Example

FOLDS = 4  # of the subjects, and of the frames: as many heads as pairs of these set the thresholds
ALARMS_MAX = 0.008  # of the subjects that nobody thought of
UNLIKELY = 0.05
SURE_MARGIN = 1.5  # logits above the loudest harmless prompt

Fit = Callable[[Vectors, NDArray[np.bool_]], Head]
Bars = dict[str, dict[str, dict[str, float]]]


def set_all(
    examples: Sequence[Example], features: Vectors, labels: NDArray[np.bool_], fit: Fit
) -> Bars:
    """Return, by script and category, the scores of doubt and of certainty."""
    logits = np.full((len(examples), len(CATEGORIES)), np.nan, np.float32)
    for fitted, unseen in folds(examples):
        logits[unseen] = fit(features[fitted], labels[fitted]).logits(features[unseen])
    harmless = np.array([one.category is None for one in examples])
    scripts = np.array([learned.script_of(one.text) for one in examples])
    subjects = np.array([f"{one.language} {one.subject or one.text}" for one in examples])
    bars: Bars = {}
    for script in learned.SCRIPTS:
        rows = harmless & (scripts == script)
        doubt, sure = _of_script(logits[rows], subjects[rows])
        bars[script] = {
            name: {"doubt": _score(doubt[at]), "sure": _score(sure[at])}
            for at, name in enumerate(CATEGORIES)
        }
    return bars


def folds(examples: Sequence[Example]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield which examples to fit, and harmless ones whose subject and frame were not among them.

    What has no subject is told apart by its text, and all harmful examples are always fitted.
    """
    harmless = np.array([one.category is None for one in examples])
    subject = np.array([_fold(one.subject or one.text) for one in examples])
    frame = np.array([_fold(f"{one.language} {one.frame}") for one in examples])
    composed = np.array([bool(one.subject) for one in examples])
    for of_subject, of_frame in product(range(FOLDS), repeat=2):
        held_out = harmless & ((subject == of_subject) | (composed & (frame == of_frame)))
        unseen = harmless & (subject == of_subject) & (~composed | (frame == of_frame))
        yield np.flatnonzero(~held_out), np.flatnonzero(unseen)


def alarms_allowed(subjects: int) -> int:
    """Return of how many subjects' alarms a share above ALARMS_MAX can still be called unlikely.

    Raises `ValueError` where even none of them would not show it.
    """
    likely, alarms = 0.0, 0
    while likely <= UNLIKELY:
        likely += (
            math.comb(subjects, alarms)
            * ALARMS_MAX**alarms
            * (1 - ALARMS_MAX) ** (subjects - alarms)
        )
        alarms += 1
    if alarms == 1:
        raise ValueError(f"{subjects} harmless subjects are too few to set a threshold from.")
    return alarms - 2


def _of_script(logits: Vectors, subjects: NDArray[np.str_]) -> tuple[Vectors, Vectors]:
    mean, deviation = logits.mean(axis=0), logits.std(axis=0)
    loudest = ((logits - mean) / deviation).max(axis=1)
    by_subject = sorted(
        (float(loudest[subjects == name].max()) for name in np.unique(subjects)), reverse=True
    )
    bar = by_subject[alarms_allowed(len(by_subject))]
    doubt: Vectors = mean + deviation * np.nextafter(np.float32(bar), np.float32(np.inf))
    return doubt, np.maximum(doubt, logits.max(axis=0)) + SURE_MARGIN


def _fold(name: str) -> int:
    return zlib.crc32(name.encode()) % FOLDS


def _score(logit: float) -> float:
    return 1 / (1 + float(np.exp(-logit)))
