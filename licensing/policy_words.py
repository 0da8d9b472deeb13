"""The categories of the use policy in words: a name for a list, a sentence for a person.

Names and sentences are those of the prompt rules (`licensing.prompt_rules`); a category that only a
filter, an imported list or an earlier version of the policy knows gets a plain sentence. Pure.
"""

from licensing import prompt_rules

# As earlier rules and lists of others say it.
_SAME = {"minors": "minors_sexual", "minors-sexual": "minors_sexual", "intimate": "ncii"}
# The policy's own page is headed "Minors"; in a sentence it has to say what about them.
_NAMES = {"minors_sexual": "Sexual content with minors"}
_PLAIN = "This is against the use policy of the studio."


def categories() -> list[str]:
    """The categories that a decision can name, in the order of the policy, then the rest."""
    return [*prompt_rules.load().categories, "other"]


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
    return f"This picture is held back because the use policy does not allow it: {name(category)}."
