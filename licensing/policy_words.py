"""The categories of the use policy in words: a name for a list, a sentence for a person.

Names and sentences are those of the prompt rules (`licensing.prompt_rules`); a category that only a
filter, an imported list or an earlier version of the policy knows gets a plain sentence. Pure.
"""

from licensing import prompt_rules
from licensing.errors import AtelierError

KNOWN = "known"  # of a list that does not say what its pictures are
# As earlier rules and lists of others say it.
_SAME = {
    "minors": "minors_sexual",
    "minors-sexual": "minors_sexual",
    "csam": "minors_sexual",
    "intimate": "ncii",
}
# The policy's own page is headed "Minors"; in a sentence it has to say what about them.
_NAMES = {"minors_sexual": "Sexual content with minors", KNOWN: "Known picture"}
_PLAIN = "This is against the use policy of the studio."


class UnknownCategory(AtelierError):  # noqa: N818 - reads as the answer that it is
    """A category that the policy does not have."""

    code = "unknown_category"
    status = 422


def categories() -> list[str]:
    """The categories that a decision can name, in the order of the policy, then the rest."""
    return [*prompt_rules.load().categories, "other"]


def of_list(words: str) -> str:
    """The category that a list of known pictures means. Raises `UnknownCategory`.

    A list whose category is misspelt would stop its pictures and lock none of them as evidence.
    """
    meant = _SAME.get(words.strip().lower(), words.strip().lower())
    choices = [*categories(), KNOWN]
    if meant not in choices:
        listed = ", ".join(sorted({*choices, *_SAME}))
        raise UnknownCategory(f"There is no category “{words}”. Choose one of: {listed}.")
    return meant


def name(category: str | None) -> str:
    """Write a category for people: `self_harm` as the policy calls it."""
    words = category or "other"
    words = _SAME.get(words, words)
    known = prompt_rules.load().categories.get(words)
    plain = known.name if known else words.replace("_", " ").capitalize()
    return _NAMES.get(words, plain)


def sentence(category: str | None) -> str:
    """Say in one plain sentence why something of a category is refused."""
    words = category or "other"
    known = prompt_rules.load().categories.get(_SAME.get(words, words))
    return known.message if known else _PLAIN


def picture_sentence(category: str | None) -> str:
    """Say in one plain sentence why a picture of a category is held back."""
    if category in {None, "other"}:
        return "This picture is held back because it is against the use policy of the studio."
    if category == KNOWN:
        return "This picture is held back because it is a copy of one that nobody may make here."
    return f"This picture is held back because the use policy does not allow it: {name(category)}."
