"""How old or tall people are and what they do, in the words in which people say so."""

import pytest
import torch
from pack.core.cast import Absent, Cast, Member, Person
from pack.core.checks.errors import BadLayout
from pack.core.places import group, people_text
from pack.core.places.builds import build


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dancing", "no pose for 'dancing'"), ("adult, adult adult", "two words for one"),
        ("girl 0", "of girl is from 1 to 120"),
        ("40 cm", "from 75 to 230 cm"), ("a, b, c", "'a'"), ("adult,,,6", "about place 4"), ("0: 6", "about place 0"),
        ("9: 6", "about place 9"), ("2: 6\n2: 7", "described already"), ("Anna: 6", "called 'Anna'"),
        ("6 hug hug", "two actions"), ("121", "121 may be a height"), ("1,65", "may be a height or ages"),
        ("2,05", "may be a height or ages"), ("1", "from 2 to 120"), ("2, 05", "'05' is not understood"),
        ("2: girl 6, adult, man", "about place 4"),
        ("99999: 6", "about place 99999"), ("s\u0130tting", "not understood"), ("3 m", "from 75 to 230 cm"),
        ("girl 6,5", "two ages"), ("girl 6.5", "may be a height or an age"),
        ("adult 2", "of adult is from 18 to 120"), ("child 40", "of child is from 1 to 17"),
        ("girl 6, 40", "'girl 6, 40' .*with two ages"), ("woman 150 cm, 35, 185 cm", "with two heights"),
        ("woman, man\ngirl", "'woman, man' .*two words for one"), ("waving, hug\ngirl", "two actions"),
        ("woman\nman, 2: girl", "'2: girl' .*described already"),
        ("woman 35, 172 cm\nman 40 185 cm\nchild 60", "'child 60'"),
    ],
)  # fmt: skip
def test_what_is_not_understood_of_people_is_refused(text: str, says: str) -> None:
    with pytest.raises(BadLayout, match=says) as caught:
        people_text.read(text, 3)
    # A list of all words helps only where one of them is not understood.
    is_unknown = "is not understood" in caught.value.problem
    assert is_unknown == ("teenager" in caught.value.advice) == ("hand on shoulder" in caught.value.advice)


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("", ""), (",,", ""), ("2: girl 6 Waving", "2: a girl of 6, waving"), ("Woman\n hug", "1: a woman\n2: hug"),
        ("3：boy，", "3: a boy of 6"), ("15, 139 cm, teenager", "1: a teenager of 15\n2: a child of 10\n3: a teenager"),
        ("child of 7 120cm hands up; man 30", "1: a child of 7, hands up\n2: a man of 30"),
        ("\uff11\uff12\uff10\uff43\uff4d, \u017fitting, 3:\u200b\u0666",
         "1: a child of 7\n2: sitting\n3: a child of 6"),
        ("woman 35, 150 cm", "1: a short woman of 35"), ("woman, 35, 150 cm, waving", "1: a short woman of 35, waving"),
        ("woman 35, 150 cm, man", "1: a short woman of 35\n2: a man"), ("woman,, 35", "1: a woman\n3: an adult of 35"),
        ("woman 35, 172 cm\nman 40, 185 cm,\nchild 6", "1: a tall woman of 35\n2: a tall man of 40\n3: a child of 6"),
        ("35, 150 cm, waving\n,\n\nhug, girl", "1: a very short adult of 35, waving\n3: a girl of 6, hug"),
        ("2: woman, 35\n185 cm", "2: a woman of 35\n3: a tall adult"),
        ("6,80cm", "1: a child of 6\n2: a toddler of 1"), ("woman, 2: 35", "1: a woman\n2: an adult of 35"),
        ("man 200 cm, man 182 cm, man 170 cm", "1: a very tall man\n2: a man\n3: a man"),
        ("toddler 1, toddler, toddler 2", "1: a toddler of 1\n2: a toddler\n3: a toddler of 2"),
        ("女孩6岁挥手\n3：女人，35岁，150厘米", "1: a girl of 6, waving\n3: a short woman of 35"),
        ("6岁女孩挥手\n30岁的女人\n6歲小女孩", "1: a girl of 6, waving\n2: a woman of 30\n3: a girl of 6"),
    ],
)  # fmt: skip
def test_what_is_said_of_people_becomes_prompts(text: str, prompts: str) -> None:
    assert people_text.prompts(people_text.read(text, 3)) == prompts


def test_a_height_behind_a_comma_is_that_of_the_person_before_it() -> None:
    """Whether people are divided by lines or by commas, and with or without a comma before the height."""
    of_one_line = people_text.read("man 40, 185 cm, woman 35, 150 cm", 2)
    assert of_one_line == people_text.read("man 40, 185 cm\nwoman 35, 150 cm", 2)
    assert of_one_line == people_text.read("man 40 185 cm\nwoman 35 150 cm", 2)
    assert of_one_line[0].build != of_one_line[1].build


def cast_of(*names: str, absent: tuple[Absent, ...] = ()) -> Cast:
    people = [Member(Person(name, {}, torch.zeros(0, 112, 112, 3))) for name in names]
    return Cast(tuple(people), absent=absent)


ANNA_BEN_CLEO = cast_of("Anna", "Ben", "Cleo")


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("man 1.80 m\nwoman, 1,80 m", "1: a man\n2: a very tall woman"), ("1.8m man", "1: a man"),
        ("180 cm man waves", "1: a man, waving"),
        ("man 5'11\"\nwoman 5 ft 1\nwoman 6'", "1: a man\n2: a short woman\n3: a very tall woman"),
        ("sits, 8 years old girl", "1: sitting\n2: a girl of 8"), ("girl 6-year-old", "1: a girl of 6"),
        ("mother\nfather\nson 8", "1: a woman\n2: a man\n3: a boy of 8"), ("son 35", "1: a man of 35"),
        ("grandmother sits\ngrandfather\nbaby", "1: an old woman, sitting\n2: an old man\n3: a baby"),
        ("old man 70\nyoung woman\nold grandma", "1: an old man of 70\n2: a young woman\n3: an old woman"),
        ("daughter 1.10 m\nson 1.85 m", "1: a girl of 5\n2: a tall man"),
        ("man and woman", "1: a man\n2: a woman"), ("child, 120 cm and adult, 180 cm",
         "1: a tall child of 6\n2: a tall adult"), ("man, woman, and boy", "1: a man\n2: a woman\n3: a boy of 6"),
        ("Anna: sits\nBen stands\nCLEO waves", "1: sitting\n2: standing\n3: waving"),
        ("cleo: man\r\n\r\nanna: boy\r\n", "1: a boy of 6\n3: a man"), ("\"Ben\": kneels", "2: kneeling"),
        ("left: sits\nright: boy\nmiddle: girl", "1: sitting\n2: a girl of 6\n3: a boy of 6"),
        ("my son, 1.20 m, sits at the left", "1: a boy of 7, sitting"), ("the man on the right side sits",
         "3: a man, sitting"), ("place 3: walks", "3: walking"), ("person 2 waves", "2: waving"),
        ("Ben 180 cm\nAnna: man taller than Ben", "1: a tall man\n2: a tall adult"),
        ("woman taller than Ben\nchild 6", "1: a woman\n2: a child of 6"), ("10 cm shorter than 2\nman 2 m",
         "1: a very tall adult\n2: a very tall man"),
        ("as tall as Ben\nman 2 m", "1: a very tall adult\n2: a very tall man"),
        ("\uff21\uff4e\uff4e\uff41\uff1a\uff11\uff0e\uff18\uff10\uff4d\uff0c\uff53\uff49\uff54\uff53",
         "1: a tall adult, sitting"),
        ("1米8 男人\n1米65的女人\n一米二的儿子", "1: a man\n2: a woman\n3: a boy of 7"),
        ("妈妈和爸爸和六岁女儿", "1: a woman\n2: a man\n3: a girl of 6"),
        ("左边：奶奶坐着\n右：老人\n中间：宝宝", "1: an old woman, sitting\n2: a baby\n3: an old adult"),
        ("Anna：比Ben高5厘米，男\nBen 180公分", "1: a tall man\n2: a tall adult"),
        ("年轻女人挥手、五岁男孩站在右边", "1: a young woman, waving\n3: a boy of 5, standing"),
    ],
)  # fmt: skip
def test_people_are_told_as_one_tells_of_them(text: str, prompts: str) -> None:
    assert people_text.prompts(people_text.read(text, 1, ANNA_BEN_CLEO)) == prompts


@pytest.mark.parametrize(
    ("text", "cm"),
    [
        ("man 1.80 m", 180), ("1,8 m man", 180), ("man 1m75", 175), ("man 5'11\"", 180), ("5 ft 11 man", 180),
        ("man 5\u20327\u2033", 170), ("6 feet tall man", 183), ("5\u20197 man", 170), ("man 70 inches", 178),
        ("man 162,5 cm", 162.5),
        ("man 35,180cm", 180), ("1米8男人", 180), ("一米七五的男人", 175), ("两米高的男人", 200), ("man 2 m", 200),
        ("man taller than 2\nwoman 180 cm", 188), ("man 5 cm shorter than 2\nwoman 180 cm", 175),
        ("as tall as 2 man\nwoman 180 cm", 180), ("man taller than 2\ntaller than 3\n180 cm", 196),
        ("man taller than 2\nwoman 150 cm", 0), ("man 190 cm taller than 2\nwoman 180 cm", 190),
    ],
)  # fmt: skip
def test_heights_are_those_that_are_said(text: str, cm: float) -> None:
    assert people_text.read(text, 3)[0].build == build(30, "m", cm)


@pytest.mark.parametrize(
    ("text", "names", "says", "advice"),
    [
        ("Dora: sits", "Anna Ben Cleo", "called 'Dora'", "1 Anna, 2 Ben, 3 Cleo"),
        ("Ben: sits", "Ben Anna Ben", "2 people are called 'Ben'", "1 or 3"),
        ("taller than Ben", "Anna Ben Ben", "2 people are called", "2 or 3"),
        ("taller than Dora", "Anna Ben Cleo", "called 'dora'", "2 Ben"),
        ("Left: sits", "Anna Left Cleo", "a name and a place", "2 is Left"),
        ("2: sits", "2 Anna Ben", "a name and a place", "1 is 2"),
        ("Old man", "Anna Old Cleo", "a name and a word", "2:"),
        ("Man", "Anna Man Cleo", "a name and a word", "2:"),
        ("woman\nman\nboy\ngirl", "Anna Ben Cleo", "describes 4 people, and the cast has 3 people", "photo"),
        ("middle: sits", "Anna Ben", "nobody in the middle", ""),
        ("man lying", "Anna", "no pose for 'lying'", "canvas"),
        ("女人跳舞", "Anna", "no pose for '跳舞'", "photo"), ("180", "Anna", "180 may be a height", "180 cm"),
        ("boy 4 ft 8", "Anna", "inches or an age", "8 years"), ("tall man", "Anna", "'tall' says no height", "180 cm"),
        ("old boy", "Anna", "said of a child", "girl 6"), ("old: sits", "Anna", "called 'old'", "1 Anna"),
        ("old sits", "Anna", "'old' is said of nobody", "old man"), ("boy 5,5 ft", "Anna", "height or an age", "5'5"),
        ("taller than 2\ntaller than 1", "Anna Ben", "in a circle", "height"),
        ("man 150 cm taller than 2\n180 cm", "Anna Ben", "150 cm, and the other has 180 cm", "line"),
        ("man, left: sits", "Anna Ben", "place 1 is described already", "line"),
        ("right: sits\nman", "Anna Ben", "about place 3", "line"), ("2: left", "Anna Ben", "left is place 1", "line"),
        ("man with a hat", "Anna", "'hat' is not understood", "teenager"),
        ("sits and waves", "Anna", "describes 2", ""),
    ],
)  # fmt: skip
def test_what_could_mean_two_things_is_asked(text: str, names: str, says: str, advice: str) -> None:
    with pytest.raises(BadLayout, match=says) as caught:
        people_text.read(text, 1, cast_of(*names.split()))
    assert advice in caught.value.advice


@pytest.mark.parametrize(
    ("text", "names", "prompts"),
    [
        ("Left: sits", "Left Ben", "1: sitting"), ("Old: man", "Anna Old", "2: a man"),
        ("Old sits\nman", "Old Ben", "1: sitting\n2: a man"), ("man\nwoman", "Man Woman", "1: a man\n2: a woman"),
        ("Anna", "Anna Ben", ""), ("A sits", "A B", "1: sitting"), ("小明坐着", "大明 小明", "2: sitting"),
    ],
)  # fmt: skip
def test_names_that_are_words(text: str, names: str, prompts: str) -> None:
    assert people_text.prompts(people_text.read(text, 1, cast_of(*names.split()))) == prompts


def test_sides_are_of_who_is_there_and_of_a_single_row() -> None:
    cast = cast_of("Ben", "Cleo", absent=(Absent(1, "Anna", "weight 0"),))
    assert people_text.prompts(people_text.read("left: sits\nright: waves", 1, cast)) == "2: sitting\n3: waving"
    people = people_text.read("left: sits", 6)
    assert group.layout(6, "half", 1, 2048, 1024, people=people).slots
    with pytest.raises(BadLayout, match="'left' may be a place in each of 2 rows"):
        group.layout(6, "half", 2, 2048, 1024, people=people)
