"""Messages that pages quote are messages that the code can give.

A help page lists under "What can go wrong" messages and symptoms, both in bold. A message is quoted in English on the
Chinese page as well; a symptom is translated. `docs/troubleshooting.md` quotes messages in italics. In a quotation "…"
stands for words that differ, and names and numbers are examples of what the code fills in.
"""

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "web" / "docs").glob("*.md"))

GAP = "…"
HOLE = "\0"
"""Where a message of the code has a value: the place of a `{...}` of an f-string."""

CHINESE = re.compile("[\u4e00-\u9fff]")
OF_THE_EDITOR = {"Validation failed", "Invalid input", "errors", "issues found"}
"""Messages of ComfyUI's editor that `docs/troubleshooting.md` explains."""

LONGEST_VALUE = 10
"""Words of a quotation that one value of a message may stand for."""


@dataclass(frozen=True)
class Message:
    """A string of the code as words, HOLE for each value. `fillers` are the words that the code itself puts into the
    holes, as in f"{'is' if number == 1 else 'are'}"."""

    words: tuple[str, ...]
    fillers: frozenset[str] = field(default_factory=frozenset)


def words_of(text: str) -> tuple[str, ...]:
    """Words in small letters, without marks at their ends. What touches a value is part of that value."""
    spaced = text.replace("...", GAP).replace(GAP, f" {GAP} ").replace("**", "").replace("`", "")
    words = []
    for word in spaced.split():
        if HOLE in word:
            words.append(HOLE)
            continue
        bare = word if word == GAP else word.strip(".,;:()'\"!?[]*")
        if bare:
            words.append(bare)
    return tuple(words)


def text_of(node: ast.expr) -> str | None:
    """The text of a string, an f-string or a sum of these. None for anything else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left = text_of(node.left)
        right = text_of(node.right)
        if left is None and right is None:
            return None
        return (HOLE if left is None else left) + (HOLE if right is None else right)
    return None


def small(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word.lower() for word in words)


def messages_of_python() -> Iterator[Message]:
    paths = sorted(path for folder in ("core", "bridge", "nodes") for path in (ROOT / folder).rglob("*.py"))
    for path in paths:
        nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
        docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if not isinstance(node, ast.expr) or id(node) in docstrings:
                continue
            text = text_of(node)
            if text is None:
                continue
            fillers: set[str] = set()
            for inner in ast.walk(node):
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                    fillers.update(small(words_of(inner.value)))
            yield Message(small(words_of(text)), frozenset(fillers))


def messages_of_scripts() -> Iterator[Message]:
    """Strings of the editor's scripts; a template's ${...} is a value."""
    strings = re.compile(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`')
    for path in sorted((ROOT / "web").glob("*.js")):
        for quoted, template in strings.findall(path.read_text("utf-8")):
            yield Message(small(words_of(re.sub(r"\$\{[^}]*\}", HOLE, quoted or template))))


@functools.cache
def messages() -> tuple[Message, ...]:
    """Every message once, those that are a value alone left out."""
    distinct = dict.fromkeys([*messages_of_python(), *messages_of_scripts()])
    return tuple(message for message in distinct if set(message.words) - {HOLE})


@functools.cache
def openings() -> frozenset[tuple[str, ...]]:
    """The first words of every message and of what follows on a value in it: two or more of them."""
    starts: set[tuple[str, ...]] = set()
    for message in messages():
        start = 0
        for end, word in enumerate(message.words, 1):
            if word == HOLE:
                start = end
            elif 2 <= end - start <= LONGEST_VALUE:
                starts.add(message.words[start:end])
    return frozenset(starts)


def is_value(word: str) -> bool:
    """A name or a number: it has a capital letter, a digit or an underscore, or is the sign for any words."""
    return word == GAP or bool(re.search(r"[A-Z\d_=]", word))


@functools.cache
def filled(words: tuple[str, ...], fillers: frozenset[str]) -> int:
    """How many words of the code stand where a message has a value, -1 where no value of it can read like this.

    A value is made of names and numbers, of words that the code itself puts there, and of openings of other messages.
    """
    if not words:
        return 0
    most_words = -1
    first = words[0].lower()
    if is_value(words[0]) or first in fillers or first.removesuffix("s") in fillers:
        most_words = filled(words[1:], fillers)
    for end in range(2, len(words) + 1):
        after = filled(words[end:], fillers) if small(words[:end]) in openings() else -1
        if after >= 0:
            most_words = max(most_words, after + sum(not is_value(word) for word in words[:end]))
    return most_words


@functools.cache
def matched(quoted: tuple[str, ...], message: Message) -> int:
    """Words of a quotation that the message has, -1 where the message cannot read like the quotation."""
    message_words = message.words

    @functools.cache
    def most_from(place: int, message_place: int) -> int:
        if place == len(quoted):
            return 0
        if quoted[place] == GAP:
            skipped = most_from(place, message_place + 1) if message_place < len(message_words) else -1
            return max(most_from(place + 1, message_place), skipped)
        if message_place == len(message_words):
            return -1
        if message_words[message_place] != HOLE:
            if message_words[message_place] != quoted[place].lower():
                return -1
            after = most_from(place + 1, message_place + 1)
            return after if after < 0 else after + 1
        most_words = -1
        for end in range(place, min(len(quoted), place + LONGEST_VALUE) + 1):
            after = most_from(end, message_place + 1)
            inside = filled(quoted[place:end], message.fillers) if after >= 0 else -1
            if inside >= 0:
                most_words = max(most_words, inside + after)
        return most_words

    return max(most_from(0, start) for start in range(len(message_words)))


@functools.cache
def is_a_message(quotation: str) -> bool:
    """Whether a message of the code can read like this, three of four words being the code's."""
    quoted = words_of(quotation)
    plain = [word for word in quoted if not is_value(word)]
    needed = max(1, round(len(plain) * 3 / 4))
    words = set(small(quoted))
    return any(matched(quoted, message) >= needed for message in messages() if words & set(message.words))


def items(path: Path) -> list[str]:
    """The items of the last section but the authors' settings: what can go wrong."""
    text = path.read_text("utf-8")
    section = re.split(r"^## (?:What can go wrong|可能出现的问题)$", text, flags=re.MULTILINE)[1]
    section = re.split(r"^## ", section, flags=re.MULTILINE)[0]
    return [line.removeprefix("- ") for line in section.splitlines() if line.startswith("- ")]


def bold(item: str) -> list[str]:
    return re.findall(r"\*\*(.+?)\*\*", item)


def quoted_in_chinese(item: str) -> list[str]:
    """The messages before the colon of an item of a Chinese page: what is bold there and not Chinese."""
    return [words for words in bold(item.split("\uff1a")[0]) if not CHINESE.search(words)]


def quotations(path: Path) -> list[str]:
    """The messages that a help page quotes, by the Chinese page, which quotes them in English."""
    quoted: list[str] = []
    for item in items(path.with_suffix("") / "zh.md"):
        quoted += quoted_in_chinese(item)
    return quoted


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_both_pages_quote_the_same_messages(path: Path) -> None:
    """In the same order, among as many items: what is not quoted in Chinese is a symptom there and here."""
    english_items = items(path)
    chinese_items = items(path.with_suffix("") / "zh.md")
    assert len(english_items) == len(chinese_items)
    for item, chinese in zip(english_items, chinese_items, strict=True):
        assert [words for words in quoted_in_chinese(chinese) if words not in bold(item)] == [], item


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_quoted_messages_are_those_of_the_code(path: Path) -> None:
    assert [quotation for quotation in quotations(path) if not is_a_message(quotation)] == []


def test_troubleshooting_quotes_messages_of_the_code() -> None:
    """Those of the table of messages, and of symptoms that are messages: what an italic text begins."""
    symptoms, messages_below = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8").split("## Messages")
    cells = [row.split("|")[1] for row in messages_below.splitlines() if row.startswith("| ")]
    quoted = re.findall(r"\*(.+?)\*", "\n".join(cells))
    assert len(quoted) > 30
    quoted += re.findall(r"^\| \*([^*]+)\* \|", symptoms, re.MULTILINE)
    of_the_pack = [quotation for quotation in quoted if quotation not in OF_THE_EDITOR]
    assert [quotation for quotation in of_the_pack if not is_a_message(quotation)] == []
