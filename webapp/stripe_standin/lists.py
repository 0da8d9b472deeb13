"""Lists: newest first, a page at a time, as every list of Stripe's."""

from typing import Any

from webapp.stripe_standin.fields import Fields, integer, text, tree
from webapp.stripe_standin.problems import StripeProblem
from webapp.stripe_standin.store import Object, listing

LIMIT_DEFAULT = 10  # Stripe's own
LIMIT_MAX = 100
TIME_MAX = 2**40
COMPARISONS = {
    "gt": lambda at, bound: at > bound,
    "gte": lambda at, bound: at >= bound,
    "lt": lambda at, bound: at < bound,
    "lte": lambda at, bound: at <= bound,
}


def page(oldest_first: list[Object], fields: Fields, url: str) -> Object:
    """Return one page of rows: by `created`, from `starting_after` or up to `ending_before`."""
    rows = [row for row in reversed(oldest_first) if _is_in_time(row, fields)]
    limit = integer(fields, "limit", least=1, most=LIMIT_MAX) or LIMIT_DEFAULT
    after, before = text(fields, "starting_after"), text(fields, "ending_before")
    if after is not None:
        rows = rows[_place(rows, after, "starting_after") + 1 :]
        return listing(rows[:limit], url, has_more=len(rows) > limit)
    if before is not None:
        rows = rows[: _place(rows, before, "ending_before")]
        return listing(rows[-limit:], url, has_more=len(rows) > limit)
    return listing(rows[:limit], url, has_more=len(rows) > limit)


def matching(rows: list[Object], fields: Fields, *names: str) -> list[Object]:
    """Return the rows that have what the request says for each of `names`, where it says it."""
    asked = {name: text(fields, name) for name in names if name in fields}
    return [row for row in rows if all(row.get(name) == value for name, value in asked.items())]


def _place(rows: list[Object], object_id: str, param: str) -> int:
    for place, row in enumerate(rows):
        if row["id"] == object_id:
            return place
    raise StripeProblem(f"No such object: '{object_id}'", param=param, code="resource_missing")


def _is_in_time(row: Object, fields: Fields) -> bool:
    created: Any = fields.get("created")
    if created is None:
        return True
    if isinstance(created, str):
        return bool(row["created"] == integer(fields, "created", most=TIME_MAX))
    bounds = tree(fields, "created")
    for name in bounds:
        bound = integer(bounds, name, most=TIME_MAX)
        if name not in COMPARISONS or not COMPARISONS[name](row["created"], bound):
            return False
    return True
