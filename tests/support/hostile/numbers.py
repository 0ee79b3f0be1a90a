"""Numbers, boxes and scenes that nodes of places cannot use."""

from collections.abc import Iterator

from sample_values import nan

from hostile.cases import Case, bad, good

NOT_UNDERSTOOD = "Actions: group photo|no person here is called|there are places 1 to 2"
"""How the list of all words, and what is said without it, begin."""


def numbers() -> Iterator[Case]:
    yield bad("no person 3", "LikenessMaskOfAPersonsPlace", person=3)
    yield bad("3 rows", "LikenessLayoutForAGroup", rows=3)
    for people in (
        "word " * 200_000,
        "9" * 200_000,
        "9" * 200_000 + ": 6",
        "," * 200_000 + "6",
        "child " + "1" * 9_999,
    ):
        yield bad(
            r"People .people.: .* (Actions: group photo|no person here is called|there are places 1 to 2)",
            "LikenessLayoutForAGroup",
            people=people,
        )
    yield good("LikenessLayoutForAGroup", people="\uff12\uff1agirl \uff16 HUG\u3001")
    yield bad("head and hair would not be whole", "LikenessLayoutFromPicture", more_places=1, more_where="at x, y")
    yield bad("of 2 pictures", "LikenessLayoutFromBoxes", bboxes=[[], []])
    yield bad("x of box 1 is nan", "LikenessLayoutFromBoxes", bboxes=[{"x": nan}])
    yield bad("x of box 1 is", "LikenessLayoutFromBoxes", text="1e9 0 40 40")
    yield bad("101 scenes", "LikenessScenes", text="b\n" * 101)
