"""What a request says: Stripe's bracketed form fields read into a tree, and checked.

`a[b][0]=c` is {"a": {"b": ["c"]}}. Values stay text until a reader here asks for a number or a
choice. Each resource first names the parameters that it knows, with `allow`.
"""

from collections.abc import Iterable
from typing import Any

from webapp.stripe_standin.problems import StripeProblem

Fields = dict[str, Any]

DEPTH_MAX = 8  # the deepest field that is used here has five levels
FIELDS_MAX = 500
METADATA_KEYS_MAX = 50  # Stripe's own limits
METADATA_KEY_MAX = 40
METADATA_VALUE_MAX = 500
AMOUNT_MAX = 99_999_999  # eight digits, as at Stripe: $999,999.99
EVERYWHERE = ("expand",)
LISTING = ("limit", "starting_after", "ending_before")


def decode(pairs: Iterable[tuple[str, str]]) -> Fields:
    """Read a form's pairs into a tree; raises `StripeProblem` for what Stripe would not send."""
    tree: Fields = {}
    for count, (name, value) in enumerate(pairs):
        steps = name.replace("]", "").split("[")
        if count >= FIELDS_MAX or len(steps) > DEPTH_MAX:
            raise StripeProblem("The request has too many fields.")
        here = tree
        for step in steps[:-1]:
            here = here.setdefault(step, {})
            if not isinstance(here, dict):
                raise StripeProblem(f"Invalid parameter: {name}", param=steps[0])
        here[steps[-1] or str(len(here))] = value
    return {name: _with_lists(value) for name, value in tree.items()}


def allow(fields: Fields, *names: str) -> None:
    """Refuse a parameter that is not among `names`: here nobody would read it."""
    for name in fields:
        if name not in names and name not in EVERYWHERE:
            raise StripeProblem(
                f"Received unknown parameter: {name} (unknown to the stand-in for Stripe)",
                param=name,
                code="parameter_unknown",
            )


def required(fields: Fields, *names: str) -> None:
    """Refuse a request that leaves out one of `names`."""
    for name in names:
        if fields.get(name) in (None, ""):
            raise StripeProblem(
                f"Missing required param: {name}.", param=name, code="parameter_missing"
            )


def text(fields: Fields, name: str) -> str | None:
    """Return a text, or None where there is none; an empty one unsets."""
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise StripeProblem(f"Invalid string: {name}", param=name)
    return value or None


def integer(fields: Fields, name: str, *, least: int = 0, most: int = AMOUNT_MAX) -> int | None:
    """Return a whole number from `least` to `most`, or None where there is none."""
    value = fields.get(name)
    if value is None:
        return None
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise StripeProblem(
            f"Invalid integer: {value}", param=name, code="parameter_invalid_integer"
        ) from None
    if not least <= number <= most:
        raise StripeProblem(
            f"{name} must be from {least} to {most} (it is {number}).",
            param=name,
            code="amount_too_small" if number < least else "amount_too_large",
        )
    return number


def needed_integer(fields: Fields, name: str, *, least: int = 0, most: int = AMOUNT_MAX) -> int:
    """Return a whole number; refuses a request without it."""
    required(fields, name)
    number = integer(fields, name, least=least, most=most)
    assert number is not None
    return number


def boolean(fields: Fields, name: str, *, default: bool = False) -> bool:
    """Return a yes or no as the SDK writes it."""
    value = fields.get(name)
    if value is None:
        return default
    if value not in ("true", "false"):
        raise StripeProblem(f"Invalid boolean: {value}", param=name)
    return bool(value == "true")


def choice(fields: Fields, name: str, options: tuple[str, ...], default: str | None = None) -> str:
    """Return one of `options`."""
    value = fields.get(name, default)
    if value not in options:
        raise StripeProblem(f"Invalid {name}: must be one of {', '.join(options)}", param=name)
    return str(value)


def currency(fields: Fields, name: str = "currency") -> str:
    """Return a currency as Stripe writes it: three small letters."""
    required(fields, name)
    value = str(fields[name]).lower()
    if len(value) != 3 or not value.isascii() or not value.isalpha():  # noqa: PLR2004 - ISO 4217
        raise StripeProblem(f"Invalid currency: {value}", param=name)
    return value


def tree(fields: Fields, name: str) -> Fields:
    """Return the fields under `name`, none if it is not there."""
    value = fields.get(name, {})
    if not isinstance(value, dict):
        raise StripeProblem(f"Invalid hash: {name}", param=name)
    return value


def rows(fields: Fields, name: str) -> list[Fields]:
    """Return the list of trees under `name`."""
    value = fields.get(name, [])
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise StripeProblem(f"Invalid array: {name}", param=name)
    return value


def metadata(fields: Fields, before: dict[str, str] | None = None) -> dict[str, str]:
    """Return `before` with what the request sets (a text) or unsets (an empty text)."""
    if fields.get("metadata") == "":
        return {}
    changes = tree(fields, "metadata")
    for key, value in changes.items():
        if not isinstance(value, str) or len(value) > METADATA_VALUE_MAX:
            raise StripeProblem("A metadata value has 500 characters at most.", param="metadata")
        if len(key) > METADATA_KEY_MAX:
            raise StripeProblem("A metadata key has 40 characters at most.", param="metadata")
    merged = {**(before or {}), **changes}
    if len(merged) > METADATA_KEYS_MAX:
        raise StripeProblem("There are 50 metadata keys at most.", param="metadata")
    return {key: value for key, value in merged.items() if value != ""}


def _with_lists(value: Any) -> Any:
    """Turn each tree whose keys are 0, 1, 2 ... into a list."""
    if not isinstance(value, dict):
        return value
    inner = {key: _with_lists(item) for key, item in value.items()}
    if inner and all(key.isdigit() for key in inner):
        return [inner[key] for key in sorted(inner, key=int)]
    return inner
