"""The words with which a text says of one person how old or tall they are, where they stand and what they do.

They may stand in any order, in English and in Chinese. Nothing is guessed: see `AskedBack`.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

from ..checks.errors import joined, listed
from ..checks.names import People
from ..checks.text import BLANKS, UNNAMED, plain, unquoted
from . import builds
from .actions import ACTIONS

OLDEST = 120
_TODDLERS_END = 3
_CM_OF_FOOT, _CM_OF_INCH = 30.48, 2.54


class AskedBack(Exception):
    """Words that are not understood, or that could mean two things.

    why: the end of a sentence about the person. advice: how to write it, "" for the usual lines.
    """

    def __init__(self, why: str, advice: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.advice = advice


@dataclass(frozen=True)
class Noun:
    """years: where no age is written. youngest, oldest: who is called so. child: whether a number behind feet may be
    an age."""

    years: float
    sex: str = ""
    youngest: float = builds.YOUNGEST
    oldest: float = OLDEST
    child: bool = False


NOUNS: Mapping[str, Noun] = {
    "adult": Noun(30, youngest=builds.GROWN_UP), "woman": Noun(30, "f", builds.GROWN_UP),
    "man": Noun(30, "m", builds.GROWN_UP), "teenager": Noun(15, youngest=10, oldest=19),
    "child": Noun(6, oldest=builds.GROWN_UP - 1, child=True), "girl": Noun(6, "f", child=True),
    "boy": Noun(6, "m", child=True), "toddler": Noun(1.5, oldest=_TODDLERS_END, child=True),
    "baby": Noun(1, oldest=2, child=True), "son": Noun(6, "m", child=True), "daughter": Noun(6, "f", child=True),
}  # fmt: skip

ALL_WORDS = f"People: {listed(tuple(NOUNS))}. Actions: {listed(tuple(ACTIONS))}."
"""For words that are not understood."""


@dataclass(frozen=True)
class Compared:
    """A height beside somebody's. other: their number. sign: 1 taller, -1 shorter, 0 the same. cm: by how much, 0 where
    it is not written."""

    other: int
    sign: int
    cm: float = 0.0


@dataclass(frozen=True)
class Said:
    """What is said of one person; "" and None for nothing.

    noun: one of NOUNS. age: "old" or "young". years; height: cm. action: one of ACTIONS. side: left, middle or right.
    """

    noun: str = ""
    age: str = ""
    years: int | None = None
    height: float | None = None
    action: str = ""
    side: str = ""
    compared: Compared | None = None

    def with_more(self, more: "Said") -> "Said":
        """Raises AskedBack where both say the same thing."""
        twice = [_TWICE[what] for what in _TWICE if _is_said(self, what) and _is_said(more, what)]
        if twice:
            raise AskedBack(f"it is one person, with {joined(twice)}")
        changes = {field.name: getattr(more, field.name) for field in fields(more) if _is_said(more, field.name)}
        return replace(self, **changes)


_TWICE = {
    "noun": "two words for one", "years": "two ages", "height": "two heights", "action": "two actions",
    "side": "two places", "compared": "two comparisons",
}  # fmt: skip
"""What is wrong with a person of whom something is said twice."""


def _is_said(said: Said, what: str) -> bool:
    return getattr(said, what) not in ("", None)


def _words(what: Said, *words: str) -> dict[str, Said]:
    return dict.fromkeys(words, what)


_WOMAN, _MAN, _CHILD = Said(noun="woman"), Said(noun="man"), Said(noun="child")
_LEXICON: dict[str, Said] = {
    **{noun: Said(noun=noun) for noun in NOUNS},
    **{action: Said(action=action) for action in ACTIONS},
    **_words(Said(noun="adult"), "grown-up", "grownup", "成人", "大人"),
    **_words(_WOMAN, "mother", "mum", "mom", "mama", "lady", "wife", "女人", "女士", "妈妈", "母亲", "妻子", "女"),
    **_words(_MAN, "father", "dad", "papa", "gentleman", "husband", "男人", "男士", "爸爸", "父亲", "丈夫", "男"),
    **_words(replace(_WOMAN, age="old"), "grandmother", "grandma", "granny", "奶奶", "外婆", "姥姥", "祖母"),
    **_words(replace(_MAN, age="old"), "grandfather", "grandpa", "爷爷", "外公", "姥爷", "祖父"),
    **_words(Said(noun="adult", age="old"), "老人"),
    **_words(Said(noun="son"), "儿子"), **_words(Said(noun="daughter"), "女儿"),
    **_words(Said(noun="girl"), "女孩"), **_words(Said(noun="boy"), "男孩"),
    **_words(_CHILD, "kid", "孩子", "小孩", "儿童"), **_words(Said(noun="teenager"), "teen", "少年"),
    **_words(Said(noun="toddler"), "幼儿"), **_words(Said(noun="baby"), "宝宝", "婴儿"),
    **_words(Said(age="old"), "old", "elderly", "年老", "老"), **_words(Said(age="young"), "young", "年轻"),
    **_words(Said(action="sitting"), "sits", "sit", "seated", "坐着", "坐下", "坐"),
    **_words(Said(action="standing"), "stands", "stand", "站着", "站立", "站"),
    **_words(Said(action="waving"), "waves", "wave", "挥手", "招手"),
    **_words(Said(action="kneeling"), "kneels", "kneel", "跪着", "跪"),
    **_words(Said(action="walking"), "walks", "walk", "走路"),
    **_words(Said(action="hug"), "hugs", "hugging", "拥抱"),
    **_words(Said(action="hands up"), "hands raised", "arms up", "举手"),
    **_words(Said(action="arms crossed"), "arms folded", "crosses arms", "抱臂"),
    **_words(Said(action="holding hands"), "holds hands", "hold hands", "牵手"),
    **_words(Said(action="arms around shoulders"), "搭肩"), **_words(Said(action="hand on shoulder"), "手放肩上"),
    **_words(Said(), "a", "an", "the", "my", "our", "his", "her", "their", "is", "of", "who", "with", "little"),
    **_words(Said(), "的", "小", "是", "我", "一个", "一位", "."),
}  # fmt: skip
"""What each word says; the last rows say nothing."""
_NO_POSE = (
    "lying", "lies", "dancing", "dances", "running", "runs", "jumping", "jumps", "kissing", "kisses", "sleeping",
    "sleeps", "riding", "rides", "crawling", "crouching", "squatting", "leaning", "climbing", "swimming", "falling",
    "pointing", "hands on hips", "wheelchair", "躺着", "躺", "跳舞", "跑步", "跑", "跳", "亲吻", "睡觉", "睡", "骑",
    "爬", "蹲", "叉腰", "轮椅",
)  # fmt: skip


def _any_of(words: Mapping[str, object] | tuple[str, ...]) -> str:
    """A pattern of words, the longest first. Words in Latin letters end where another sign begins."""
    return "|".join(
        re.escape(word) + ("(?![a-z])" if word[-1].isascii() and word[-1].isalpha() else "")
        for word in sorted(words, key=len, reverse=True)
    )


_CHINESE_DIGITS = {digit: str(number) for number, digit in enumerate("零一二三四五六七八九")} | {
    "两": "2",
    "\u3007": "0",
}
_CHINESE_NUMBER = "[零\u3007一二两三四五六七八九十]"
_INCH_SIGN = r"(?:''|\u2032\u2032|[\"\u2033\u201d]|in\.?(?![a-z])|inch(?:es)?(?![a-z])|英寸)"
_FOOT = r"(?:['\u2032\u2019]|(?:ft\.?|foot|feet)(?![a-z])|英尺)"
_METRE = r"(?:m|met(?:er|re)s?)(?![a-z])"
CM = r"(?:(?:cm|centimet(?:er|re)s?)(?![a-z])|厘米|公分)"
METRE_OR_FOOT = f"(?:{_METRE}|米|{_FOOT})"
_SIDES = {
    "left": "left", "right": "right", "middle": "middle", "center": "middle", "centre": "middle",
    "左": "left", "右": "right", "中": "middle",
}  # fmt: skip
_SIDE = re.compile(
    r"(?:(?:on|at|to|in)\s+)?(?:the\s+)?(left|right|middle|cent(?:er|re))(?![a-z])(?:\s+side(?![a-z]))?"
    r"|(?:在|最)?(左|右|中)(?:边|面|侧|间)"
)
_BARE_SIDE = re.compile("左|右|中")


def side_in(text: str) -> str:
    """Which side a text is, left, middle or right; "" where it is none."""
    words = _normal(text)
    match = _SIDE.fullmatch(words) or _BARE_SIDE.fullmatch(words)
    return _side_of(match) if match else ""


def _side_of(match: re.Match[str]) -> str:
    return _SIDES[next(filter(None, match.groups()), match[0])]


def _normal(text: str) -> str:
    """Small letters, full-width ones made plain, in one line."""
    return " ".join(plain(plain_letters(text)).lower().split())


def plain_letters(text: str) -> str:
    """A text with plain letters, digits and signs in the place of full-width ones."""
    return unicodedata.normalize("NFKC", text)


def scan(text: str, people: People) -> Said:
    """What a text without a colon says of one person. people: who may be named in it. Raises AskedBack."""
    words = _normal(text)
    said = Said()
    at = 0
    feet_alone = ""  # feet and a number without a unit: it may be inches or an age
    while at < len(words):
        if words[at] in BLANKS:
            at += 1
            continue
        found, at_end = _next(words, at, people)
        if found.height and re.fullmatch(r"\d\s*(?:ft\.?|foot|feet)\s*\d+\s*", words[at:at_end]):
            feet_alone = words[at:at_end]
        tall = _TALL.match(words, at_end) if found.height else None
        at_end = tall.end() if tall else at_end
        if found == Said(age=said.age):  # an old grandmother
            found = Said()
        said = said.with_more(found)
        at = at_end
    if words and said == Said():  # "the" alone
        raise AskedBack(f"{words!r} is not understood", ALL_WORDS)
    if feet_alone and NOUNS.get(said.noun, NOUNS["adult"]).child:
        raise AskedBack(f"{feet_alone!r} may be inches or an age", "Write 4'8\" or 4 ft, 8 years.")
    return said


def _next(words: str, at: int, people: People) -> tuple[Said, int]:
    """What the words at a position say first, and where that ends. Raises AskedBack."""
    compared = _comparison(words, at, people)
    if compared:
        return compared
    for pattern, says in _PATTERNS:
        match = pattern.match(words, at)
        if match:
            return says(match), match.end()
    word = re.match(r"[a-z0-9'.-]+|\W+|\w", words[at:])
    unknown = plain(word[0] if word and word[0].isascii() else words[at : at + 6], 40)
    raise AskedBack(f"{unknown!r} is not understood", ALL_WORDS)


def _years(match: re.Match[str]) -> Said:
    return Said(years=_written(match["years"]))


def _written(number: str) -> int:
    """The number that Arabic or Chinese digits write: 六, 十二, 三十五."""
    if number.isdecimal():
        return int(number)
    tens, ten, ones = number.rpartition("十")
    if not ten:
        return int("".join(_CHINESE_DIGITS[digit] for digit in number))
    return 10 * int(_CHINESE_DIGITS.get(tens, "1")) + int(_CHINESE_DIGITS.get(ones, "0"))


def _number(match: re.Match[str]) -> Said:
    """A number without a unit is an age."""
    number = int(match[0])
    if OLDEST < number <= builds.TALLEST:
        raise AskedBack(f"{number} may be a height", f"Write {number} cm.")
    return Said(years=number)


def _metres(match: re.Match[str]) -> Said:
    metres, part = _written(match["metres"]), match["part"] or "0"
    part = "".join(_CHINESE_DIGITS.get(digit, digit) for digit in part)
    return Said(height=100 * metres + int(part.ljust(2, "0")))


def _feet(match: re.Match[str]) -> Said:
    return Said(height=round(_CM_OF_FOOT * int(match["feet"]) + _CM_OF_INCH * int(match["inches"] or 0)))


def _asked_of_decimal(match: re.Match[str]) -> Said:
    raise AskedBack(f"{match[0]!r} may be a height or an age", "Write 1.65 m, 165 cm or 5'5\"; ages are whole years.")


def _no_pose(match: re.Match[str]) -> Said:
    raise AskedBack(
        f"there is no pose for {match[0]!r}",
        "Take it from a photo with Layout from Picture, or bend arms and legs on the canvas of Who Stands Where.",
    )


def _lexical(match: re.Match[str]) -> Said:
    return _LEXICON[match[0]]


_PATTERNS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Said]], ...] = (
    (re.compile(rf"(?<!\d)(?P<metres>\d)[.,](?P<part>\d{{1,2}})\s*(?:{_METRE}|米)"), _metres),
    (re.compile(rf"(?<!\d)(?P<metres>\d)\s*(?:{_METRE}|m(?=\d\d(?!\d)))(?P<part>\d\d(?!\d))?"), _metres),
    (re.compile(rf"(?P<metres>\d|[一两二])米(?P<part>\d{{1,2}}(?!\d)|{_CHINESE_NUMBER}{{1,2}}(?!岁))?"), _metres),
    (re.compile(rf"(?P<cm>\d{{1,3}}(?:[.,]\d)?)\s*{CM}"),
     lambda match: Said(height=float(match["cm"].replace(",", ".")))),
    (re.compile(rf"\d[.,]\d+\s*{_FOOT}"), _asked_of_decimal),
    (re.compile(rf"(?P<feet>\d)\s*{_FOOT}(?:\s*(?P<inches>1[01]|\d)(?![\d.,])(?!\s*(?:years?|yrs?|yo|岁))"
                rf"\s*{_INCH_SIGN}?)?"), _feet),
    (re.compile(rf"(?P<inches>\d\d)\s*{_INCH_SIGN}"),
     lambda match: Said(height=round(_CM_OF_INCH * int(match["inches"])))),
    (re.compile(r"(?:aged?\s+)?(?P<years>\d{1,3})(?:\s*-?\s*(?:years?|yrs?)(?![a-z])(?:\s*-?\s*old(?![a-z]))?"
                r"|\s*yo(?![a-z])|\s*[岁歲])"), _years),
    (re.compile(rf"(?P<years>{_CHINESE_NUMBER}{{1,3}})[岁歲]"), _years),
    (re.compile(r"\d+[.,]\d+"), _asked_of_decimal),
    (re.compile(r"(?:aged?\s+)?(?!0\d)\d{1,3}(?!\d)"), lambda match: _number(_DIGITS.search(match[0]) or match)),
    (re.compile(_any_of(_NO_POSE)), _no_pose),
    (re.compile(rf"(?:in\s+(?:a\s+)?)(?:{_any_of(_NO_POSE)})"), _no_pose),
    (_SIDE, lambda match: Said(side=_side_of(match))),
    (re.compile(r"(?:very\s+)?(tall|short)(?![a-z])"), lambda match: _asked_of_stature(match[1])),
    (re.compile(_any_of(_LEXICON)), _lexical),
)  # fmt: skip
"""Tried in this order at each position."""
_DIGITS = re.compile(r"\d+")
_TALL = re.compile(r"\s*(?:tall|high)(?![a-z])|\s*高")
"""Behind a height, of which it says nothing more."""


def _asked_of_stature(word: str) -> Said:
    raise AskedBack(f"{word!r} says no height", "Write it, as 180 cm or 5'11\", or write: taller than, and a name.")


_ENGLISH_COMPARISON = re.compile(r"(?:(?P<cm>[1-6]?\d)\s*cm\s+)?(?P<how>taller than|shorter than|as tall as)\s+")
_CHINESE_COMPARISON = re.compile(
    r"比(?P<who>.{1,60}?)(?P<how>高|矮)(?:\s*(?P<cm>\d{1,3})\s*(?:cm|厘米|公分))?"
    r"|[和跟与](?P<same>.{1,60}?)一样高"
)
_MOST_WORDS_OF_A_NAME = 12
_SIGNS = {"taller than": 1, "shorter than": -1, "as tall as": 0, "高": 1, "矮": -1}


def _comparison(words: str, at: int, people: People) -> tuple[Said, int] | None:
    """A height beside somebody's at a position, and where it ends. Raises AskedBack for somebody who is not there."""
    english = _ENGLISH_COMPARISON.match(words, at)
    if english:
        parts = words[english.end() :].split(" ")[:_MOST_WORDS_OF_A_NAME]
        # The longest name that somebody has: Anna Lee, and not Anna.
        for length in range(len(parts), 0, -1):
            who = " ".join(parts[:length])
            if people.called(who.rstrip(".")):
                other = one_of(who.rstrip("."), people)
                said = Compared(other, _SIGNS[english["how"]], float(english["cm"] or 0))
                return Said(compared=said), english.end() + len(who)
        raise _nobody(parts[0], people)
    chinese = _CHINESE_COMPARISON.match(words, at)
    if chinese:
        other = one_of(chinese["who"] or chinese["same"], people)
        sign = _SIGNS.get(chinese["how"] or "", 0)
        return Said(compared=Compared(other, sign, float(chinese["cm"] or 0))), chinese.end()
    return None


def one_of(name: str, people: People) -> int:
    """The number of the person of a name, or of a number as text. Raises AskedBack for nobody and for two of a name."""
    meant = people.called(unquoted(name))
    if not meant:
        raise _nobody(name, people)
    if len(meant) > 1:
        numbers = joined([str(person + 1) for person in meant], "or")
        raise AskedBack(f"{len(meant)} people are called {plain(name, 40)!r}", f"Write the number, {numbers}.")
    return meant[0] + 1


def _nobody(name: str, people: People) -> AskedBack:
    there = [f"{number} {name}" for number, name in enumerate(people.names, 1) if name != UNNAMED]
    advice = f"There are: {plain(listed(there), 400)}." if there else "Write the number of the place, as 2: sitting."
    return AskedBack(f"no person here is called {plain(name, 40)!r}", advice)
