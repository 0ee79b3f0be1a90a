"""Of how many people a prompt speaks, as far as its words say it, for a note where that is not who is in the cast."""

import re
from collections.abc import Collection

from .errors import counted, gathered

_NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
_SPECIFIC = "woman|women|man|men|girls?|boys?|lady|ladies|guys?|child|children"
_ANYBODY = "person|persons|people|adults?|friends?|kids?"
_COUNTED = re.compile(
    rf"\b(?P<number>{'|'.join(_NUMBERS)}|[2-9]) (?:(?!year)[a-z-]+ ){{0,3}}?"
    rf"(?:(?P<specific>{_SPECIFIC})|(?P<anybody>{_ANYBODY}))\b(?!')"
)
_SEVERAL = re.compile(r"(?:s|\bmen|women|children|people)$")
_KIN = "mother|father|parents|son|daughter|sister|brother|wife|husband|twins|bride|groom|couple|group|team|family|crowd"
_UNCOUNTED = re.compile(rf"\b(?:{_ANYBODY}|women|men|girls|boys|{_KIN})\b|img")
_SOMETHING_BESIDE = re.compile(
    r"(?:,|\b(?:and|with|beside|behind|by|to|hugs|hugging|kisses|kissing|meets)) (?:a|an|the) [a-z]"
)
"""What may be one more, as in "a woman and a doctor"; a note that is wrong is worse than none."""
_SOMEBODY = re.compile(
    rf"\b(?:{_SPECIFIC}|{_ANYBODY}|{_KIN}|everybody|everyone|both|portraits?|selfie|faces?|heads?|he|she|they|his|her|"
    r"their|solo|figures?|characters?|models?)\b|img|\dgirl|\dboy"
)
EXAMPLE_WORDS = (
    "a dark green coat on an autumn street",
    "a blue jacket and grey jeans",
    "a blue jacket and a brown hat",
    "a blue jacket and a man in a red sweater",
    "a green coat and a man in a grey sweater",
    "a navy blue blazer and grey trousers with a brown belt",
    "a green pullover among friends",
    "a woman with red hair, natural skin",
)
"""What prompts of our workflows say of the drawn people, and is wrong of others. Each is long enough to be meant by
nobody else."""

_MOST_READ = 4000
"""Letters of a prompt that are looked at."""


def note(prompt: str, people: int, names: Collection[str]) -> str:
    """What is said where a prompt is empty, or speaks of nobody or of another number of people; "" where it may fit.

    Where its words leave open how many people are meant, or are not English, nothing is said. people: how many are in
    the cast. names: of them; a prompt that has one is of people.
    """
    text = prompt[:_MOST_READ].lower()
    has = counted(people, "person", "people")
    if not text.strip():
        return f"The prompt is empty. Say who is in the picture: the cast has {has}."
    if not text.isascii() or any(re.search(rf"\b{re.escape(name.lower())}\b", text) for name in names if name):
        return ""
    # "a green pullover among friends" counts nobody.
    found = [match for match in _COUNTED.finditer(text) if _number(match) > 1 or not _SEVERAL.search(match[0])]
    if not found:
        said = "" if _SOMEBODY.search(text) else "has no word for a person, such as woman or man"
    else:
        # "two people, a woman and a man" are two.
        by_kind = [sum(_number(match) for match in found if match[kind]) for kind in ("specific", "anybody")]
        may_fit = people in (*by_kind, sum(by_kind)) or _has_more(text, found)
        said = "" if may_fit else f"speaks of {counted(max(by_kind), 'person', 'people')}"
    return f"The prompt {said}; the cast has {has}. Say in it how many people there are, and who." if said else ""


def example_note(prompt: str) -> str:
    """What is said of a prompt with words of one of our workflows, as of drawn pictures that are left; else ""."""
    left = [words for words in EXAMPLE_WORDS if words in prompt[:_MOST_READ].lower()]
    return "".join(gathered("Still words of the example", left, ": write what fits your people"))


def _number(match: re.Match[str]) -> int:
    return _NUMBERS.get(match["number"]) or int(match["number"])


def _has_more(text: str, found: list[re.Match[str]]) -> bool:
    """Whether the words beside those that are counted may mean more people, such as "friends" or "a couple"."""
    for match in reversed(found):
        text = text[: match.start()] + text[match.end() :]
    return bool(_UNCOUNTED.search(text) or _SOMETHING_BESIDE.search(text))
