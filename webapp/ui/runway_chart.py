"""The picture of an outlook: the balance of the past weeks and, for each pace, the way down.

Points are in a box of 1000 by 240, for an SVG that is stretched to its place; words are set beside
it as HTML, so that they keep their size. Pure.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from webapp.ui.funds import TRACK_DAYS, Outlook
from webapp.ui.months import axis_top
from webapp.ui.runway import Runway

WIDTH, HEIGHT = 1000, 240
AHEAD_DAYS_MIN, AHEAD_DAYS_MAX = 7, 200  # further on the lines leave the picture
LABEL_ROOM_PERMILLE = 130  # two days nearer than this would be written over each other


@dataclass(frozen=True)
class Mark:
    """A day to be named below the chart, at `permille` of its width."""

    day: date
    permille: int
    is_end: bool = False


@dataclass(frozen=True)
class Chart:
    """What the template draws: lines as SVG points, and marks as words."""

    axis_micros: int
    past: str
    ways: list[str]
    between: str
    today_permille: int
    marks: list[Mark]


def draw(outlook: Outlook) -> Chart:
    """Draw an outlook."""
    ahead = _ahead(outlook)
    days = TRACK_DAYS + ahead
    most = max(micros for _, micros in outlook.track)
    most = max([most, *(one.left_micros[0] for one in outlook.runways)])
    axis = axis_top(max(most, 0))

    def point(number: int, micros: int) -> str:
        y = HEIGHT - max(micros, 0) * HEIGHT / axis
        return f"{number * WIDTH / days:.1f},{y:.1f}"

    past = []
    for number, (_, micros) in enumerate(outlook.track):
        past.append(point(number, micros))
    ways = [
        [point(TRACK_DAYS + number, micros) for number, micros in enumerate(one.left_micros)][
            : ahead + 1
        ]
        for one in outlook.runways
    ]
    between = [*ways[0], *reversed(ways[-1])] if len(ways) > 1 else []
    return Chart(
        axis_micros=axis,
        past=" ".join(past),
        ways=[" ".join(way) for way in ways],
        between=" ".join(between),
        today_permille=TRACK_DAYS * 1000 // days,
        marks=_marks(outlook, days),
    )


def _ahead(outlook: Outlook) -> int:
    ends = [_days_to(one, outlook.today) for one in outlook.runways]
    return min(max([AHEAD_DAYS_MIN, *(end + 2 for end in ends)]), AHEAD_DAYS_MAX)


def _days_to(one: Runway, today: date) -> int:
    return (one.ends_on - today).days if one.ends_on else AHEAD_DAYS_MAX


def _marks(outlook: Outlook, days: int) -> list[Mark]:
    first = outlook.today - timedelta(days=TRACK_DAYS)
    marks = [Mark(first, 0), Mark(outlook.today, TRACK_DAYS * 1000 // days)]
    for one in sorted(outlook.runways, key=lambda way: way.ends_on or date.max):
        if one.ends_on is None or (one.ends_on - first).days > days:
            continue
        permille = (one.ends_on - first).days * 1000 // days
        if permille - marks[-1].permille >= LABEL_ROOM_PERMILLE:
            marks.append(Mark(one.ends_on, permille, is_end=True))
    return marks
