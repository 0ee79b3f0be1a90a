"""A note is the same text in frontends that read it as HTML and in those that show it as it is."""

import re
from html.parser import HTMLParser

import pytest
from pack.bridge import notes

pytestmark = pytest.mark.both_hosts

LINKS = re.compile(r"\[\[([^|\]]+)\|([^\]]+)\]\]|__LNK\d+__")
"""What frontends 1.49.6 and 1.58.1 make links of."""


class Reader(HTMLParser):
    """Reads a note as a browser does."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.tags: list[str] = []

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(tag)

    def handle_comment(self, data: str) -> None:
        self.tags.append(data)

    def handle_decl(self, decl: str) -> None:
        self.tags.append(decl)

    def handle_pi(self, data: str) -> None:
        self.tags.append(data)


@pytest.mark.parametrize(
    "text",
    [
        "id_patch/ip-adapter_faceid.bin is missing.",
        "Anna & Ben <3 each other, a < b > c & 2 &lt; 3 &#95; &copy",
        '<img src=x onerror="window.harmed = 1"> </b> <!-- c --> <?php <!DOCTYPE x>',
        "[[a|http://b.c]] [[[a|b]]] __LNK0__ ___LNK1__ [b]www.d.e[/b]",
    ],
)
def test_a_note_is_the_same_as_html_and_as_plain_text(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(notes._notes_under, "7", [text])
    note = notes._note_text("7")
    assert note.replace(notes.WORD_JOINER, "") == text
    reader = Reader()
    reader.feed(note)
    reader.close()
    assert (reader.text.replace(notes.WORD_JOINER, ""), reader.tags) == (text, [])
    assert not LINKS.search(note)
    # A character beside each underscore that is neither a space nor a sign: no emphasis begins or ends there.
    assert not re.search(r"(?<![\w\u2060])_|_(?![\w\u2060])", note)
