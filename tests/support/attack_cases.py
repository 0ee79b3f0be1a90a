"""What is linked or typed wrongly, and what must nevertheless be right: graphs, and how each of them ends.

What a link may bring to any input of any node is in tests/host/test_linked_inputs.py, by the schemas, and what every
method promises in tests/promises; here is what only one node or several together can tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import nan
from typing import Any

from attack_graphs import (
    DEFAULTS,
    SAMPLED,
    SCHEMAS,
    Node,
    Output,
    check,
    ended,
    node,
    ours,
    sampled,
    sampler,
    sockets,
    value,
)

FORGED = "likeness-forged"
"""What texts of a user put at the beginning of a line of their own, behind a terminal escape and into HTML."""
SURROGATE = "Anna \ud800"
ESCAPES = f"Anna \x1b[31m{FORGED}\n{FORGED}\r{FORGED}"


@dataclass(frozen=True)
class Case:
    """A graph and how it must end: right, or explained.

    words: a regular expression; found in the message of an error, or in the log beside a right result.
    """

    graph: Node
    ending: str
    words: str = ""

    def __str__(self) -> str:
        """Its last nodes with what stands in them."""
        last = [one for one in self.graph.inputs.values() if isinstance(one, Node)] or [self.graph]
        return "; ".join(f"{one.kind} {_shown(one)}" for one in last)


def _shown(one: Node) -> dict[str, Any]:
    values = {name: given.node if isinstance(given, Output) else given for name, given in one.inputs.items()}
    return {
        name: given.inputs.get("expression", given.kind) if isinstance(given, Node) else given
        for name, given in values.items()
    }


def right(graph: Node, words: str = "") -> Case:
    return Case(graph, "right", words)


def explained(words: str, graph: Node) -> Case:
    return Case(graph, "explained", words)


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
    return explained(words, ended(of(kind, **changed)))


def drawn(graph: Node, words: str = "") -> Case:
    return right(check("drawn(a)", graph), words)


def undrawn(words: str, graph: Node) -> Case:
    return explained(words, check("drawn(a)", graph))


GOOD_PICTURES = (
    "torch.cat([a, a], dim=-1)[..., :4]", "a.double()", "a.half()", "a.bfloat16()",
    "a.transpose(1, 2).contiguous().transpose(1, 2)", "a[..., :1]",
)  # fmt: skip


def pictures() -> Iterator[Case]:
    """Of every kind that other packs make; two at each input, in turns."""
    for number, (kind, one) in enumerate(inputs("IMAGE")):
        before = DEFAULTS[f"Likeness{kind}"].get(one.id, value("image()"))
        for expression in GOOD_PICTURES[number % 3 :: 3]:
            if (kind, expression) != ("BodySurfaceMask", GOOD_PICTURES[-1]):
                yield good(kind, **{one.id: value(expression, before)})
    surface = value(GOOD_PICTURES[-1], DEFAULTS["LikenessBodySurfaceMask"]["surface"])
    yield bad("no DensePose IUV", "BodySurfaceMask", surface=surface)


def masks() -> Iterator[Case]:
    for kind, one in inputs("MASK"):
        for expression in ("mask(2) * 0", "mask(2) * nan"):
            yield bad("is empty|all zero", kind, **{one.id: expression})
    for name in ("mask", "target_mask"):
        for batch in (2, 64):
            yield good("Part", f"batch of {batch} masks", **{name: f"mask({batch})"})
    yield bad("3 masks for 2 people", "ApplyInstantID", mask="mask(3)")
    yield bad("same region", "ApplyInstantID", mask="torch.ones(2, 96, 128)")
    yield good("ApplyInstantID", "64x48.*128x96", mask="mask(2, 64, 48)")
    for expression in (
        "mask(2) > 0",
        "mask(2).byte()",
        "mask(2).half()",
        "mask(2) * 255",
        "mask(2, 64, 48)",
        "mask(64)",
    ):
        yield good("LayoutFromFaces", masks=expression)


def numbers() -> Iterator[Case]:
    for kind, one in inputs("INT"):
        if one.id == "width":
            yield bad("513x", kind, width=513)
    yield bad("no person 3", "PersonRegion", person=3)
    yield bad("3 rows", "GroupLayout", rows=3)
    yield bad("no free place for a face of about 500 px", "AddPlace", face_size=500)
    yield bad("head and hair would not be whole", "AddPlace", where="at x, y")
    yield bad("of 2 pictures", "LayoutFromBoxes", bboxes="[[], []]")
    yield bad("x of box 1 is nan", "LayoutFromBoxes", bboxes="[{'x': nan}]")
    yield bad("without four numbers", "LayoutFromBoxes", text="x" * 9999)
    yield bad("x of box 1 is", "LayoutFromBoxes", text="1e9 0 40 40")
    yield bad("The text has no scene", "Scenes", text=" ")
    yield bad("101 scenes", "Scenes", text="beach\n" * 101)
    for kind in SAMPLED:
        yield bad(r"0\.8.*0\.2", kind.removeprefix("Likeness"), start_percent=0.8, end_percent=0.2)


ONLY = (
    ("Cast", "person_1"), ("PeopleFromPhotos", "photo_1"), ("CastFromPhotos", "image"),
    ("Measure", "cast"), ("PoseImage", "layout"), ("ApplyInstantID", "control_net"), ("ApplyInstantID", "image"),
    ("ApplyIPAdapter", "clip_vision"), ("ApplyStyle", "cast"),
    ("LayoutFromFaces", "faces"), ("LayoutFromFaces", "poses"), ("LayoutFromFaces", "masks"),
)  # fmt: skip
"""Optional inputs that are the only ones of theirs that DEFAULTS connects, or that its strengths ask for."""


def unlinked() -> Iterator[Case]:
    """That bring nothing, as bypassed loaders do, or what is of the right kind and yet another."""
    for kind, one in inputs():
        if one.optional and (kind, one.id) not in ONLY:
            yield good(kind, **{one.id: "None"})
    for kind, name in ONLY:
        yield bad(f"{name} input.* nothing|connected", kind, **{name: "None"})
    yield bad("clip input", "CastReferences", clip="sdxl_clip()")
    yield bad("vae input", "CastReferences", vae="vae()")
    yield bad("sampled input", "PasteFaces", sampled="{'samples': 1}")
    yield bad("made for SDXL, but FLUX.1, FLUX.2 or Qwen", "BindReferences", model="sdxl()")
    yield bad(r"made for SD15, but FLUX\.1", "BindReferences", model="sd15()")
    yield bad("finds no references of the cast", "BindReferences", positive="text(1, 24)", negative="text(1, 24)")
    yield explained("no person is connected", ended(node("LikenessCast")))
    for way in DRAWN:
        yield explained("neither", ended(node("LikenessPoseImage", draw=way)))
    two = node("LikenessLayoutFromFaces", **DEFAULTS["LikenessLayoutFromFaces"], poses=value("pose()"))
    yield explained("one thing.* faces, poses", ended(two))


DRAWN = ("skeletons", "face keypoints", "body surface")
"""What Draw Layout may draw."""


def places() -> Iterator[Case]:
    nowhere = value("Layout(128, 96, ())")
    yield bad("0 places|no face", "PlaceCast", cast="unplaced(identity())", layout=nowhere)
    for way in DRAWN:
        yield explained("0 places|no face|No place", ended(node("LikenessPoseImage", draw=way, layout=nowhere)))
    empty = "cast(identity(), places=layout(slot(mask=mask()[0] * 0)))"
    yield bad("mask of its place is empty", "PersonRegion", cast=empty)
    for side in (100000, 24000):
        for kind, given in (("GroupLayout", {}), ("LayoutFromFaces", {}), ("LayoutFromFaces", {"masks": "mask(2)"})):
            yield bad(str(side), kind, **given, width=side, height=side)
        canvas = f"pose(width={side - 20000 * (side > 24000)}, height={side - 20000 * (side > 24000)})"
        yield bad("80000x80000|24000x24000", "LayoutFromFaces", poses=canvas, width=0, height=0)
    for faces, words in {
        "faces(face(box=(nan,) * 4))": "(?i)nan", "faces(face(keypoints=((nan, nan),) * 5))": "(?i)nan",
        "faces(face(keypoints=((5.0, 5.0),) * 3))": "3 face keypoints", "faces(width=0)": "0x96",
        "Faces((), 128, 96)": "empty",
    }.items():  # fmt: skip
        yield bad(words, "LayoutFromFaces", faces=faces)
    for far in ("slot(40.0, 9e5)", "slot(-9e5, 40.0)"):
        yield good("AddPlace", layout=f"layout({far}, slot(), width=512, height=512)")
    for weight in ("1e39", "-1e39", "nan"):
        yield bad("NaN or infinity", "PersonPrompts", prompts=f"1: (smiling:{weight})")
        yield bad("NaN or infinity", "ApplyPhotoMaker", text=f"a (red:{weight}) woman img, a man img")
    for prompts, words in {
        "smiling": "no colon", "Zoe: up": "called 'Zoe'", "3: up": "called '3'", "Anna: up\n: down": "called ''",
        ":" * 9999: "called ''", "x" * 9999: "no colon",
    }.items():  # fmt: skip
        yield bad(words, "PersonPrompts", prompts=prompts)
    for custom, words in {
        "": "it is empty", "1": "1 number", "1,1": "2 places", "3,1": "no person 3", "1,x": "'x'", "1,-2": "'-2'",
        "1," + "9" * 50: "not a number", "1\n2\n3": "3 numbers", "\u0662,\u0661": "not a number",
    }.items():  # fmt: skip
        yield bad(words, "PlaceCast", order="custom", custom_order=custom)
    yield bad("more people than places", "PlaceCast", layout="layout(slot())")
    yield bad("no face to compare", "PlaceCast", order="match faces")
    yield good("PlaceCast", order="custom", custom_order="2;1")


BAD_POSES = {
    "pose([[1.0, 2.0], [3.0]])": "numbers", "pose([10**400, 1, 1] * 18)": "numbers|far|large",
    "pose(['x'] * 54)": "numbers", "pose([None] * 54)": "numbers|no person", "pose([1.0] * 51)": "51",
    "pose([nan] * 54)": "no person", "pose([inf, inf, 1.0] * 18)": "no person",
    "[{'people': [], 'canvas_width': 128, 'canvas_height': 96}]": "no person", "7": "OpenPose",
    "[{'canvas_width': 128}]": "people", "pose() * 2": "2 pictures", "pose(width=None)": "canvas_width",
    "pose(width=nan)": "canvas_width", "pose(width=0)": "canvas_width",
    "[{'people': 'abc', 'canvas_width': 128, 'canvas_height': 96}]": "people", "pose([{'x': 1}] * 54)": "numbers",
}  # fmt: skip


def poses() -> Iterator[Case]:
    for expression, words in BAD_POSES.items():
        yield bad(words, "LayoutFromFaces", poses=expression)
    one = of("LayoutFromFaces", poses="pose(width=1, height=1)", width=8192, height=8192)
    yield explained("head or a neck", ended(node("LikenessPoseImage", layout=one)))
    yield good("LayoutFromFaces", poses="pose()", width=0, height=0)


def people() -> Iterator[Case]:
    huge, opposites = "normal(1, 2, 512) * 1e25", "torch.cat([normal(1, 1, 512), -normal(1, 1, 512)])"
    for method in ("ApplyIDPatch", "ApplyInstantID"):
        for rows, photos, words in [
            *((huge, photos, "large|1e|length") for photos in ("mean", "normalised mean", "weighted mean", "sequence")),
            *((opposites, photos, "opposite|cancel|zero") for photos in ("mean", "normalised mean")),
        ]:
            cast = value(f"cast(identity(rows={rows}), identity('Boris'))")
            yield bad(words, method, cast=cast, image=picture_of(method, cast, photos), photos=photos)
        yield bad("no place", method, cast="unplaced()")
    emptied = of("PlaceCast", order="custom", custom_order="0,0")
    yield bad("no person 0.*no people", "PersonRegion", cast=emptied, person=0)
    for way in DRAWN:
        drawn_of = node("LikenessPoseImage", cast=emptied, draw=way)
        yield explained("No person of the cast .* custom_order", ended(drawn_of))
    yield bad("of 2 people, the cast has 0 people", "BindIDTokens", cast=emptied)
    nobody = value("cast(weights=[0.0, 0.0])")
    yield good("ApplyIDPatch", "weights are 0", cast=nobody, image=picture_of("ApplyIDPatch", nobody))
    two = of("IDPatchImage", cast="cast()")
    yield bad("2|people|cast", "ApplyIDPatch", cast="cast(identity())", image=two)
    yield bad("no ID patches", "ApplyIDPatch", image=of("IDPatchImage")[1])
    yield bad("person_9", "Cast", **{f"person_{n}": value("identity()") for n in range(1, 10)})
    yield good("Cast", person_1="identity('x' * 2500)")
    yield good("SaveIdentity", identity="identity('x' * 2_000_000)")
    for name in ("'x' * 2500", "None", "7"):
        yield good("PlaceCast", cast=f"unplaced(identity({name}, rows=normal(1, 1, 512)), identity())")
        yield good("SaveIdentity", identity=f"identity({name}, rows=normal(1, 1, 512))")


def picture_of(method: str, cast: Node, photos: str = "mean") -> Node:
    return (
        of("IDPatchImage", cast=cast, photos=photos)
        if method == "ApplyIDPatch"
        else node("LikenessPoseImage", draw="face keypoints", cast=cast)
    )


BAD_NAMES = {
    "../anna": "leads outside", "/tmp/anna": "leads outside", "  ": "empty", "family/": "empty",
    "a/" * 5000 + "a": "5000 sub-folders", "a" * 300: "312 bytes", "名" * 100: "312 bytes", "\ud800": "is empty",
    **dict.fromkeys(("...", "a/...", "a./b", "con", "NUL", "aux.txt", "com1/a", "lpt9", "<a>", "a*b?", "a|b", 'a"b',
                     "a:b", "a\\b"), "no name of a file on Windows"),
}  # fmt: skip
GOOD_NAMES = (
    "family/anna", "anna.safetensors", "名前 ü", "a" * 240, "anna.b.c", "Anna Jr.", "anna con", "an\0na", SURROGATE,
)  # fmt: skip
SPOILED = {
    "identity(rows=normal(1, 1, 512) * nan)": "it contains NaN",
    "identity(rows=normal(1, 1, 512) * 1e25)": r"its numbers reach \d\S*e\+25",
    "identity(rows=normal(1, 1, 512).to(torch.complex64))": "complex64",
    "replace(identity(), crops=torch.full((1, 112, 112, 3), nan))": "its pictures hold nan",
    "replace(identity(), crops=torch.full((1, 112, 112, 3), 1e9))": r"hold 1e\+09 .* 0 to 1",
    "replace(identity(), crops=torch.zeros(1, 112, 112, 3).to(torch.complex64))": "complex64",
    "replace(identity(), portraits=portraits(1, torch.float32))": r"are torch\.float32 of",
    "replace(identity(), portraits=portraits(2))": r"\(2, 224, 224, 3\)",
}


def bank() -> Iterator[Case]:
    for name, words in BAD_NAMES.items():
        yield bad(words, "SaveIdentity", filename=name)
    for name in GOOD_NAMES:
        yield right(check("None if Path(a).is_file() else 'no file'", of("SaveIdentity", filename=name)[1]))
    shared = "Identity('Anna', dict.fromkeys(RECOGNISERS, normal(1, 1, 512)), torch.zeros(1, 112, 112, 3))"
    yield good("SaveIdentity", identity=shared, filename="shared")
    yield bad("no photo", "SaveIdentity", identity="Identity('Anna', {}, torch.zeros(0, 112, 112, 3))")
    for file in ("nobody.safetensors", "../x.safetensors", ""):
        yield bad("(?i)no saved|outside|not in list", "LoadIdentity", file=file)
    for expression, words in SPOILED.items():
        yield bad(words, "SaveIdentity", identity=expression, filename="spoiled")
        yield bad(words, "Cast", person_1=expression)
        yield bad(words, "LoadIdentity", file=value(f"in_the_bank({expression})"))


def texts() -> Iterator[Case]:
    """Of a user."""
    for name in (SURROGATE, ESCAPES):
        yao, boris = of("Identity", name=name), value("identity()")
        cast = of("Cast", person_1=yao)
        placed = of("PlaceCast", cast=cast, layout="layout(slot())")
        twice = of("PlaceCast", cast=of("Cast", cast=cast, person_1=yao), layout="layout(slot(), slot())")
        nobody = of("Identity", name=name, image="photo('COFFEE')", on_no_face="skip")
        label = of("Part", label="other", other_label=name)
        yield bad("No face found", "Identity", name=name, image="photo('COFFEE')")
        yield right(ended(yao))
        yield good("Cast", person_1=nobody, person_2=boris)
        yield bad("empty", "Cast", person_1=nobody)
        yield bad("(?i)nan", "Cast", person_1=yao, weight_1=nan)
        yield bad("no place", "IDPatchImage", cast=cast)
        yield bad("ID-Patch needs", "IDPatchImage", cast=placed)
        yield bad("same region", "ApplyInstantID", cast=twice, image="image()")
        yield bad("no person 9", "PersonRegion", cast=placed, person=9)
        yield right(ended(placed))
        yield bad("in common", "BlendIdentities", a=yao, b="identity('Boris', recognisers=['other'])")
        yield good("BlendIdentities", name=name)
        for given in ("text", "always"):
            scenes = of("Scenes", **{given: name})
            yield right(check("None if ''.join(a).isprintable() else 'unfit letters'", scenes))
        yield bad("number", "PlaceCast", order="custom", custom_order=name)
        yield right(ended(label), "none of the six")
        yield good("SharePartsAttention", parts=label)
        yield good("EncodeParts", parts=label)
        for kind, file in LOADERS.items():
            yield bad("(?i)no saved|not found|not in list|name", kind, **{file: name})
    yield bad("other_label", "Part", label="other")


LOADERS = {"LoadAdapter": "file", "LoadParts2Whole": "folder", "LoadIdentity": "file"}
"""And which of their inputs names a file."""
SIZES = ((64, 48), (256, 192), (120, 88), (16, 16), (8, 8), (256, 96), (128, 192))
"""Of latents; the last two of another shape."""


def latents() -> Iterator[Case]:
    for kind in ("ApplyIDPatch", "ApplyInstantID"):
        for width, height in SIZES:
            graph, words = sampled(of(kind), value(f"latent({width}, {height})")), f"{width}x{height}.*128x96 px"
            yield undrawn(words, graph) if (width, height) in SIZES[-2:] else drawn(graph, words)
        size = {"upscale_method": "nearest-exact", "width": 192, "height": 144, "crop": "disabled"}
        larger = node("LatentUpscale", samples=sampled(of(kind)), **size)
        yield drawn(sampled(of(kind), larger, denoise=0.5), "192x144")
        yield drawn(sampled(of(kind), value("latent(batch=2)")))
    for kind in ("ApplyParts", "SharePartsAttention"):
        for width, height in SIZES:
            graph = sampled(of(kind), value(f"latent({width}, {height})"))
            yield undrawn(f"{width}x{height}.*128x96 px", graph)


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
        for scheduler in ("karras", "sgm_uniform", "beta"):
            yield drawn(sampled(ours(kind), scheduler=scheduler))
        width = 48 if "Parts" in kind else 2048
        yield right(ended(ours(kind, positive=value(f"text(1, {width}) + text(2, {width})"))))


def rows() -> Iterator[Case]:
    """Casts from Crop Faces, and pictures that do not belong to the crops."""
    apart = value("by_row()")
    for kind in ("Cast", "PlaceCast", "PersonRegion", "Measure", "CropFaces"):
        yield bad("comes from Crop Faces", kind, cast=apart)
    skeletons, keypoints = (node("LikenessPoseImage", cast=apart, draw=way) for way in DRAWN[:2])
    condition = of("IDPatchImage", cast=apart, image=skeletons)
    for kind, image in (("ApplyIDPatch", condition), ("ApplyInstantID", keypoints)):
        applied = of(kind, cast=apart, image=image)
        yield drawn(sampled(applied, value("latent(128, 128, 2)")))
        for batch in (1, 3):
            yield undrawn(f"latent has {batch} row", sampled(applied, value(f"latent(128, 128, {batch})")))
        yield bad("image has 1 row", kind, cast=apart, image=value("a[:1]", image))
    yield bad("picture of their own", "ApplyInstantID", cast=apart, image=keypoints, mask="mask(2)")
    crops = DEFAULTS["LikenessPasteFaces"]["sampled"]
    yield bad("the crops were cut out of", "PasteFaces", images="image()")
    yield bad("got 2 pictures", "PasteFaces", images="photo().repeat(2, 1, 1, 1)")
    yield bad("got 2 sampled crops", "PasteFaces", sampled=value("a.repeat(2, 1, 1, 1)", crops))
    yield bad("the crops are squares", "PasteFaces", sampled=value("a[:, 1:]", crops))
    yield good("PasteFaces", sampled=value("a.repeat_interleave(2, 1).repeat_interleave(2, 2)", crops))
    batch = value("photo().repeat(2, 1, 1, 1)")
    report = of("Measure", images=batch)
    for index, kept in {"torch.tensor([3, 4])": (3, 4), "torch.tensor([])": (0, 1)}.items():
        noise = f"{{'samples': torch.zeros(2, 4, 8, 8), 'batch_index': {index}}}"
        best = of("PickBest", report=report, images=batch, latents=noise)
        yield right(check(f"None if a['batch_index'][0] in {kept} else a['batch_index']", best[1]))
    yield good("CropFaces", r"\d+% pasted at most", feather=4.0)


SECTIONS = (
    pictures, masks, numbers, unlinked, places, poses, people, bank, texts, latents, schedules, rows,
)  # fmt: skip
