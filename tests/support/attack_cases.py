"""What is linked or typed wrongly, and what must nevertheless be right: graphs, and how each of them ends.

attack_cases.json has those of one node with other inputs than its defaults, [words, node, inputs] as attack_graphs.py
reads them; here are those of many nodes at once and of samplers. What a link may bring to any input of any node is in
tests/host/test_linked_inputs.py, and what every method promises in tests/promises.
"""

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from attack_graphs import (
    DEFAULTS,
    SAMPLED,
    SCHEMAS,
    Node,
    check,
    ended,
    node,
    ours,
    sampled,
    sampler,
    sockets,
    stands_for,
    value,
)

FORGED = "likeness-forged"
"""What texts of a user put at the beginning of a line of their own, behind a terminal escape and into HTML."""
NAMES = ("Anna \ud800", f"Anna \x1b[31m{FORGED}\n{FORGED}\r{FORGED}")
TABLE = Path(__file__).with_name("attack_cases.json").read_text("utf-8")


@dataclass(frozen=True)
class Case:
    """A graph and how it must end: right, or explained.

    words: a regular expression; found in the message of an error, or in the log beside a right result.
    """

    graph: Node
    ending: str
    words: str = ""

    def __str__(self) -> str:
        """Its last nodes with what is typed into them."""
        last = [one for one in self.graph.inputs.values() if isinstance(one, Node)]
        return f"{self.words or self.ending}: {str([one.inputs for one in last])[:300]}"


def right(graph: Node, words: str = "") -> Case:
    return Case(graph, "right", words)


def inputs(*types: str) -> Iterator[tuple[str, Any]]:
    """(node, input) of these types, of every node; without types all sockets. Of inputs in rows the first."""
    for kind, schema in SCHEMAS.items():
        for one in schema.inputs if types else sockets(kind):
            if (not types or one.get_io_type() in types) and not re.search("_[2-9]$", one.id):
                yield kind.removeprefix("Likeness"), one


def of(kind: str, **changed: Any) -> Node:
    return ours(f"Likeness{kind}", **changed)


def good(kind: str, words: str = "", **changed: Any) -> Case:
    """words: what the log has to say."""
    return right(ended(of(kind, **changed)), words)


def bad(words: str, kind: str, **changed: Any) -> Case:
    return Case(ended(of(kind, **changed)), "explained", words)


def drawn(graph: Node) -> Case:
    return right(check("drawn(a)", graph))


def undrawn(words: str, graph: Node) -> Case:
    return Case(check("drawn(a)", graph), "explained", words)


def of_table(section: str, name: str = "") -> Iterator[Case]:
    """The rows of a section; name: what stands for NAME in them."""
    rows = json.loads(TABLE.replace("NAME", json.dumps(name)[1:-1]))[section]
    for words, kind, given in rows["bad"]:
        yield bad(words, kind, **{key: stands_for(one) for key, one in given.items()})
    for words, kind, given in rows["good"]:
        yield good(kind, words, **{key: stands_for(one) for key, one in given.items()})


GOOD_PICTURES = (
    "torch.cat([a, a], dim=-1)[..., :4]", "a.double()", "a.half()", "a.bfloat16()",
    "a.transpose(1, 2).contiguous().transpose(1, 2)", "a[..., :1]",
)  # fmt: skip


def pictures() -> Iterator[Case]:
    """Of every kind that other packs make; two at each input, in turns."""
    for number, (kind, one) in enumerate(inputs("IMAGE")):
        before = DEFAULTS[f"Likeness{kind}"].get(one.id, value("image()"))
        for expression in GOOD_PICTURES[number % 3 :: 3]:
            yield good(kind, **{one.id: value(expression, before)})


def masks_and_numbers() -> Iterator[Case]:
    for kind, one in inputs("MASK"):
        # Masks of these nodes act where a MODEL is connected.
        models = {"ApplyIDPatch": "sdxl()", "PeopleAsReferences": "klein()"}
        model = {"model": models[kind]} if kind in models else {}
        for expression in ("mask(2) * 0", "mask(2) * nan"):
            yield bad("is empty|all zero", kind, **{one.id: expression}, **model)
    for kind, one in inputs("INT"):
        if one.id == "width":
            yield bad("513x", kind, width=513)


ONLY = (
    ("Cast", "person_1"), ("CastFromPhotos", "photo_1"), ("SortPhotosIntoPeople", "image"),
    ("MeasureLikeness", "cast"), ("DrawSkeletons", "layout"), ("ApplyInstantID", "control_net"),
    ("ApplyInstantID", "image"), ("ApplyIPAdapter", "clip_vision"), ("StylePerPerson", "cast"),
    ("LayoutFromPicture", "faces"), ("LayoutFromPicture", "poses"), ("LayoutFromPicture", "masks"),
)  # fmt: skip
"""Optional inputs that are the only ones of theirs that DEFAULTS connects, or that its strengths ask for."""


def unlinked() -> Iterator[Case]:
    """That bring nothing, as bypassed loaders do, or what is of the right kind and yet another."""
    for kind, one in inputs():
        # Without an optional MODEL there is none to sample with: test_regional_text.py looks at that.
        if one.optional and (kind, one.id) not in ONLY and one.get_io_type() != "MODEL":
            yield good(kind, **{one.id: "None"})
    for kind, name in ONLY:
        yield bad(f"{name} input.* nothing|connected", kind, **{name: "None"})
    yield from of_table("unlinked")


LONG_NAMES = "a" * 243, "王" * 81, "/".join("abcdefghijklmnopqrstuvwxyz")
GOOD_NAMES = "family/anna", "anna.safetensors", "名前 ü", "anna.b.c", "Anna Jr.", "anna con", "an\0na", *LONG_NAMES


def texts() -> Iterator[Case]:
    """Of a user."""
    for name in NAMES:
        yield from of_table("texts", name)
        for given in ("text", "always"):
            yield right(check("None if ''.join(a).isprintable() else 'unfit letters'", of("Scenes", **{given: name})))
    yield from of_table("bank")
    for name in (*GOOD_NAMES, NAMES[0]):
        yield right(check("None if Path(a).is_file() else 'no file'", of("SavePerson", filename=name)[1]))


ENCODED = {
    ("PromptPerPerson", "prompts"): "1: {}",
    ("Scenes", "text"): "{}",
    ("Scenes", "always"): "{}",
    ("AddLoRAToPerson", "words"): "{}",
    ("ApplyPhotoMaker", "text"): "a woman img, a man img, {}",
    ("ApplyPhotoMaker", "trigger"): "{}",
    ("Part", "other_label"): "{}",
    ("PeopleAsReferences", "prompt"): "{}",
    ("PeopleAsReferences", "negative_prompt"): "{}",
    ("MeasureLikeness", "prompt"): "{}",
}
"""The inputs whose text a text encoder is given, and what stands around what is said."""
NOT_ENCODED = {("LayoutFromBoxes", "text"), ("Person", "face_boxes")}
"""Texts of several lines that are read here alone."""
TOO_LONG, TOO_DEEP = (
    "is the most that a text encoder is given|letters at most",
    "within each other, and 100 is the most",
)
TOO_MUCH = (
    (TOO_LONG, "word " * 200_000),
    (TOO_LONG, "(" * 20_000 + "a" + ")" * 20_000),
    (TOO_DEEP, "(" * 400 + "a" + ")" * 400),
)


def encoded() -> Iterator[Case]:
    """Texts for an encoder: too long, and brackets within brackets; right to the last letter and bracket."""
    for (kind, name), around in ENCODED.items():
        more = {"label": "other"} if kind == "Part" else {}
        for words, text in TOO_MUCH:
            # A part's label is read when the parts are encoded.
            if kind != "Part" or words == TOO_LONG:
                asked = ours(f"Likeness{kind}", **{name: around.format(text), **more})
                yield Case(ended(asked), "explained", words)
    yield good("PromptPerPerson", prompts="1: " + "(" * 100 + "a" + ")" * 100)
    yield right(ended(ours("LikenessAddLoRAToPerson", words="word " * 1999 + "words")))


SIZES = ((120, 88), (8, 8), (128, 192))
"""Of latents; the last of another shape. More of them: tests/host/refused.json."""


def latents() -> Iterator[Case]:
    for (width, height), kind in itertools.product(SIZES, ("ApplyIDPatch", "ApplyInstantID", "ApplyParts2Whole")):
        graph = sampled(of(kind), value(f"latent({width}, {height})"))
        other = kind == "ApplyParts2Whole" or (width, height) == SIZES[-1]
        yield undrawn(f"{width}x{height}.*128x96 px", graph) if other else drawn(graph)


def schedules() -> Iterator[Case]:
    def ranged(given: Any, start: float, end: float) -> Node:
        return node("ConditioningSetTimestepRange", conditioning=given, start=start, end=end)

    for kind in SAMPLED:
        applied = ours(kind)
        whole = sampled(applied)
        model = value("sdxl()") if kind == "LikenessApplyIDPatch" else applied
        positive, negative = (applied, applied[1]) if kind == "LikenessApplyIDPatch" else (applied[1], applied[2])
        behind = sampler(model, ranged(positive, 0.0, 1.0), ranged(negative, 0.0, 1.0))
        given = {side: ranged(DEFAULTS[kind][side], 0.0, 1.0) for side in ("positive", "negative")}
        halves = (ranged(positive, 0.0, 0.5), ranged(positive, 0.5, 1.0))
        joined = node("ConditioningCombine", conditioning_1=halves[0], conditioning_2=halves[1])
        latent = value("{'samples': normal(3, 1, 4, 12, 16)}")
        yield right(check("alike(a, b)", behind, whole))
        yield right(check("alike(a, b)", sampled(ours(kind, **given)), whole))
        yield right(check("alike(a, b, 1e-5)", sampler(model, joined, negative), whole))
        yield right(check("alike(a, b)", sampler(model, positive, negative, latent, denoise=0.0), latent))


def rows() -> Iterator[Case]:
    """Casts from Crop Faces, and pictures that do not belong to the crops."""
    yield from of_table("rows")
    batch = value("photo().repeat(2, 1, 1, 1)")
    report = of("MeasureLikeness", images=batch)
    for index, kept in {"torch.tensor([3, 4])": (3, 4), "torch.tensor([])": (0, 1)}.items():
        noise = f"{{'samples': torch.zeros(2, 4, 8, 8), 'batch_index': {index}}}"
        best = of("PickBestLikeness", report=report, images=batch, latents=noise)
        yield right(check(f"None if a['batch_index'][0] in {kept} else a['batch_index']", best[1]))


SECTIONS = {
    one.__name__: one for one in (pictures, masks_and_numbers, unlinked, texts, encoded, latents, schedules, rows)
} | {name: partial(of_table, name) for name in ("values", "masks", "numbers", "people", "places", "poses")}
