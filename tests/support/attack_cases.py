"""What is linked or typed wrongly, and what must nevertheless be right: graphs, and how each of them ends.

What a link may bring to any input of any node is in tests/host/test_linked_inputs.py, by the schemas; here is what only
one node or several together can tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from attack_graphs import DEFAULTS, SAMPLED, Node, check, ended, node, ours, plain, sampled, sampler, value
from pack.nodes.extension import NODES as OURS

FORGED = "likeness-forged"
"""What texts of a user put at the beginning of a line of their own, behind a terminal escape and into HTML."""
SURROGATE = "Anna \ud800"
ESCAPES = f"Anna \x1b[31m{FORGED}\n{FORGED}\r{FORGED}"


@dataclass(frozen=True)
class Case:
    """A graph and how it must end: right, or explained.

    words: a regular expression; found in the message of an error, or (told) in the log beside a right result.
    """

    name: str
    graph: tuple[Node, ...]
    ending: str
    words: str = ""


def right(name: str, *graph: Node) -> Case:
    return Case(name, graph, "right")


def told(name: str, words: str, *graph: Node) -> Case:
    return Case(name, graph, "right", words)


def explained(name: str, words: str, *graph: Node) -> Case:
    return Case(name, graph, "explained", words)


# Inputs, one after the other, as the nodes' own schemas list them

NODES = {schema.node_id: schema.inputs for schema in (node.define_schema() for node in OURS)}


def inputs(*types: str) -> Iterator[tuple[str, Any]]:
    """(node, input) of these types, of every node; without types all sockets. Of inputs in rows the first."""
    for kind, known in NODES.items():
        for one in known:
            found = one.get_io_type()
            wanted = found in types if types else found not in ("FLOAT", "INT", "COMBO", "STRING")
            if wanted and not re.search("_[2-9]$", one.id):
                yield kind, one


def given(kind: str, name: str, expression: str, *a: Any):
    """What is made of a node when this value is linked to one of its inputs."""
    return ended(ours(kind, **{name: value(expression, *a)}))


GOOD_PICTURES = {
    "alpha": "torch.cat([a, a], dim=-1)[..., :4]",
    "float64": "a.double()",
    "half": "a.half()",
    "bfloat16": "a.bfloat16()",
    "not contiguous": "a.transpose(1, 2).contiguous().transpose(1, 2)",
    "one channel": "a[..., :1]",
}


def pictures() -> Iterator[Case]:
    """Of every kind that other packs make; two at each input, in turns."""
    for number, (kind, one) in enumerate(inputs("IMAGE")):
        before = DEFAULTS[kind].get(one.id, value("image()"))
        for what, expression in [*GOOD_PICTURES.items()][number % 3 :: 3]:
            if what == "one channel" and kind == "LikenessBodySurfaceMask":
                continue
            yield right(f"{kind}.{one.id}: {what}", given(kind, one.id, expression, before))
    grey = given("LikenessBodySurfaceMask", "surface", "a[..., :1]", DEFAULTS["LikenessBodySurfaceMask"]["surface"])
    yield explained("LikenessBodySurfaceMask.surface: grey", "no DensePose IUV", grey)


def masks() -> Iterator[Case]:
    for kind, one in inputs("MASK"):
        for what, expression in {"black": "mask(2) * 0", "NaN": "mask(2) * nan"}.items():
            yield explained(f"{kind}.{one.id}: {what}", "is empty|all zero", given(kind, one.id, expression))
    for name in ("mask", "target_mask"):
        for batch in (2, 64):
            graph = given("LikenessPart", name, f"mask({batch})")
            yield told(f"LikenessPart.{name}: batch of {batch}", f"batch of {batch} masks", graph)
    for what, expression, words in [
        ("three for two people", "mask(3)", "3 masks for 2 people"),
        ("two alike", "torch.ones(2, 96, 128)", "same region"),
    ]:
        graph = given("LikenessApplyInstantID", "mask", expression)
        yield explained(f"LikenessApplyInstantID.mask: {what}", words, graph)
    other = given("LikenessApplyInstantID", "mask", "mask(2, 64, 48)")
    yield told("LikenessApplyInstantID.mask: another size", "64x48.*128x96", other)
    for what, expression in {
        "bool": "mask(2) > 0",
        "whole numbers": "mask(2).byte()",
        "half": "mask(2).half()",
        "too large": "mask(2) * 255",
        "another size": "mask(2, 64, 48)",
        "64 of them": "mask(64)",
    }.items():
        graph = given("LikenessLayoutFromMasks", "masks", expression)
        yield right(f"LikenessLayoutFromMasks.masks: {what}", graph)


def numbers() -> Iterator[Case]:
    for kind, one in inputs("INT"):
        if one.id == "width":
            odd = given(kind, one.id, "513")
            yield explained(f"{kind}.width: no multiple of 8, linked", "513x", odd)
    for kind, name, expression, words in [
        ("LikenessPersonRegion", "person", "3", "no person 3"),
        ("LikenessGroupLayout", "rows", "3", "3 rows"),
        ("LikenessAddPlace", "face_size", "500", "no free place for a face of about 500 px"),
        ("LikenessAddPlace", "where", "'at x, y'", "head and hair would not be whole"),
        ("LikenessLayoutFromBoxes", "bboxes", "[[], []]", "of 2 pictures"),
        ("LikenessLayoutFromBoxes", "bboxes", "[{'x': nan}]", "x of box 1 is nan"),
        ("LikenessLayoutFromBoxes", "text", "'x' * 9999", "without four numbers"),
        ("LikenessLayoutFromBoxes", "text", "'1e9 0 40 40'", "x of box 1 is"),
        ("LikenessScenes", "text", "' '", "The text has no scene"),
        ("LikenessScenes", "text", "'beach\\n' * 101", "101 scenes"),
    ]:
        yield explained(f"{kind}.{name}: {expression}, linked", words, given(kind, name, expression))
    for kind in SAMPLED:
        backwards = {"start_percent": 0.8, "end_percent": 0.2}
        yield explained(f"{kind}: ends before it starts", r"0\.8.*0\.2", ended(ours(kind, **backwards)))


ONLY = (
    ("LikenessCast", "person_1"),
    ("LikenessPeopleFromPhotos", "photo_1"),
    ("LikenessCastFromPhotos", "image"),
    ("LikenessFaceKeypointsImage", "cast"),
    ("LikenessMeasure", "cast"),
    ("LikenessPoseImage", "layout"),
    ("LikenessApplyInstantID", "control_net"),
    ("LikenessApplyInstantID", "image"),
    ("LikenessApplyIPAdapter", "clip_vision"),
    ("LikenessApplyStyle", "cast"),
    ("LikenessFacesFromLandmarks", "face_landmarks"),
)
"""Optional inputs that are the only ones of theirs that DEFAULTS connects, or that its strengths ask for."""


def sockets() -> Iterator[Case]:
    """That bring nothing, as bypassed loaders do, or something else."""
    for kind, one in inputs():
        if one.optional and (kind, one.id) not in ONLY:
            yield right(f"{kind}.{one.id}: None", given(kind, one.id, "None"))
    for kind, name in ONLY:
        yield explained(f"{kind}.{name}: None", f"{name} input.* nothing|connected", given(kind, name, "None"))
    for kind, name, expression in [
        ("LikenessCast", "person_1", "'Anna'"),
        ("LikenessCast", "person_1", "cast()"),
        ("LikenessSaveIdentity", "identity", "cast()"),
        ("LikenessPlaceCast", "cast", "identity()"),
        ("LikenessPlaceCast", "layout", "cast()"),
        ("LikenessApplyParts", "features", "networks()"),
        ("LikenessEncodeParts", "parts", "[]"),
        ("LikenessEncodeParts", "clip", "vae()"),
        ("LikenessEncodeParts", "vae", "sd15()"),
        ("LikenessApplyInstantID", "instant_id", "loaded('id_patch')"),
        ("LikenessApplyIPAdapter", "ip_adapter", "loaded('instant_id')"),
        ("LikenessApplyIPAdapter", "clip_vision", "clip()"),
        ("LikenessApplyPhotoMaker", "photo_maker", "loaded('instant_id')"),
        ("LikenessApplyIDPatch", "id_patch", "loaded('instant_id')"),
        ("LikenessApplyIDPatch", "control_net", "clip()"),
        ("LikenessApplyInstantID", "control_net", "sdxl()"),
        ("LikenessApplyStoryMaker", "story_maker", "loaded('instant_id')"),
        ("LikenessApplyWithAnyone", "with_anyone", "loaded('story_maker')"),
        ("LikenessApplyInfiniteYou", "infinite_you", "loaded('instant_id')"),
        ("LikenessApplyInfiniteYou", "control_net", "clip()"),
        ("LikenessApplyStoryMaker", "bodies", "cast()"),
        ("LikenessApplyStoryMaker", "bodies", "image() * nan"),
        ("LikenessCastReferences", "clip", "flux2_vae()"),
        ("LikenessCastReferences", "clip", "sdxl_clip()"),
        ("LikenessCastReferences", "vae", "vae()"),
        ("LikenessMeasure", "identity", "cast()"),
        ("LikenessMeasure", "parts", "clip_vision()"),
        ("LikenessMeasure", "clip_vision", "clip()"),
        ("LikenessCropFaces", "cast", "layout()"),
        ("LikenessPasteFaces", "where", "cast()"),
        ("LikenessPasteFaces", "sampled", "{'samples': 1}"),
        ("LikenessPickBest", "report", "cast()"),
        ("LikenessPickBest", "latents", "image()"),
        ("LikenessPickBest", "latents", "{'samples': None}"),
        ("LikenessPickBest", "latents", "{}"),
    ]:
        graph = given(kind, name, expression)
        yield explained(f"{kind}.{name}: {expression}", f"{name} input", graph)
    for model, words in {
        "sdxl()": "made for SDXL, but FLUX.1, FLUX.2 or Qwen",
        "sd15()": r"made for SD15, but FLUX\.1",
    }.items():
        yield explained(f"LikenessBindReferences: {model}", words, given("LikenessBindReferences", "model", model))
    texts = {side: value("text(1, 24)") for side in ("positive", "negative")}
    nobodys = ended(ours("LikenessBindReferences", **texts))
    yield explained("LikenessBindReferences: nobody's references", "finds no references of the cast", nobodys)
    as_text = ended(ours("LikenessCast", person_1="Anna"))
    yield explained("LikenessCast.person_1: a text in the prompt itself", "person_1 input.*'Anna'", as_text)
    yield explained("LikenessCast: nobody", "no person is connected", ended(node("LikenessCast")))
    yield explained("LikenessFaceKeypointsImage: nothing", "neither", ended(node("LikenessFaceKeypointsImage")))


# Places

DRAWS_PLACES = ("LikenessPlaceCast", "LikenessPoseImage", "LikenessFaceKeypointsImage")


def places() -> Iterator[Case]:
    for kind in DRAWS_PLACES:
        yield explained(f"{kind}: nobody", "0 places|no face", ended(on_layout(kind, "Layout(128, 96, ())")))
    empty = value("cast(identity(), places=layout(slot(mask=mask()[0] * 0)))")
    region = ours("LikenessPersonRegion", cast=empty)
    yield explained("LikenessPersonRegion: the mask of the place is empty", "mask of its place is empty", ended(region))
    for what, (width, height) in {"100000x100000": ("100000", "100000"), "24000x24000": ("24000", "24000")}.items():
        for kind in ("LikenessGroupLayout", "LikenessLayoutFromFaces", "LikenessLayoutFromMasks"):
            graph = ended(ours(kind, width=value(width), height=value(height)))
            yield explained(f"{kind}: {what} linked", width, graph)
    yield explained("LikenessLayoutFromFaces: a face of NaN", "(?i)nan", ended(of_faces("face(box=(nan,) * 4)")))
    far = "face(keypoints=((nan, nan),) * 5)"
    yield explained("LikenessLayoutFromFaces: keypoints of NaN", "(?i)nan", ended(of_faces(far)))
    three = "face(keypoints=((5.0, 5.0),) * 3)"
    yield explained("LikenessLayoutFromFaces: three keypoints", "3 face keypoints", ended(of_faces(three)))
    no_picture = ours("LikenessLayoutFromFaces", faces=value("faces(width=0)"))
    yield explained("LikenessLayoutFromFaces: of a picture of no width", "0x96", ended(no_picture))
    yield explained("LikenessLayoutFromFaces: no face", "empty", ended(of_faces("")))
    for where, expression in {"far below": "slot(40.0, 9e5)", "far to the left": "slot(-9e5, 40.0)"}.items():
        far = ours("LikenessAddPlace", layout=value(f"layout({expression}, slot(), width=512, height=512)"))
        yield right(f"LikenessAddPlace: somebody is {where}", ended(far))
    for weight in ("1e39", "-1e39", "nan"):
        words = ours("LikenessPersonPrompts", prompts=f"1: (smiling:{weight})")
        yield explained(f"LikenessPersonPrompts: a weight of {weight}", "NaN or infinity", ended(words))
        words = ours("LikenessApplyPhotoMaker", text=f"a (red:{weight}) woman img, a man img")
        yield explained(f"LikenessApplyPhotoMaker: a weight of {weight}", "NaN or infinity", ended(words))
    for prompts, words in {
        "smiling": "no colon", "Zoe: up": "called 'Zoe'", "3: up": "called '3'", "Anna: up\n: down": "called ''",
        ":" * 9999: "called ''", "x" * 9999: "no colon",
    }.items():  # fmt: skip
        yield explained(
            f"LikenessPersonPrompts: {prompts[:20]!r}", words, ended(ours("LikenessPersonPrompts", prompts=prompts))
        )
    for custom, words in {
        "": "it is empty", "1": "1 number", "1,1": "2 places", "3,1": "no person 3", "1,x": "'x'", "1,-2": "'-2'",
        "1," + "9" * 50: "not a number", "1\n2\n3": "3 numbers", "\u0662,\u0661": "not a number",
    }.items():  # fmt: skip
        graph = ended(ours("LikenessPlaceCast", order="custom", custom_order=custom))
        yield explained(f"LikenessPlaceCast: order {custom[:9]!r}", words, graph)
    one = ours("LikenessPlaceCast", layout=value("layout(slot())"))
    yield explained("LikenessPlaceCast: one place too few", "more people than places", ended(one))
    match = ours("LikenessPlaceCast", order="match faces")
    yield explained("LikenessPlaceCast: no faces to match", "no face to compare", ended(match))
    yield right("LikenessPlaceCast: swapped", ended(ours("LikenessPlaceCast", order="custom", custom_order="2;1")))


def on_layout(kind: str, expression: str):
    people = {"cast": value("unplaced(identity())")} if kind == "LikenessPlaceCast" else {}
    given = {**DEFAULTS[kind], "layout": value(expression), **people}
    if kind == "LikenessFaceKeypointsImage":
        del given["cast"]
    return node(kind, **given)


def of_faces(expression: str):
    faces = f"faces({expression})" if expression else "Faces((), 128, 96)"
    return ours("LikenessLayoutFromFaces", faces=value(faces))


# Poses

BAD_POSES = {
    "ragged": ("pose([[1.0, 2.0], [3.0]])", "numbers"),
    "a huge integer": ("pose([10**400, 1, 1] * 18)", "numbers|far|large"),
    "a text": ("pose(['x'] * 54)", "numbers"),
    "None": ("pose([None] * 54)", "numbers|no person"),
    "17 points": ("pose([1.0] * 51)", "51"),
    "NaN": ("pose([nan] * 54)", "no people"),
    "infinite": ("pose([inf, inf, 1.0] * 18)", "no people"),
    "nobody": ("[{'people': [], 'canvas_width': 128, 'canvas_height': 96}]", "no people"),
    "no list": ("7", "OpenPose"),
    "no people": ("[{'canvas_width': 128}]", "people"),
    "two pictures": ("pose() * 2", "2 pictures"),
    "no width": ("pose(width=None)", "canvas_width"),
    "width NaN": ("pose(width=nan)", "canvas_width"),
    "width 0": ("pose(width=0)", "canvas_width"),
    "people a text": ("[{'people': 'abc', 'canvas_width': 128, 'canvas_height': 96}]", "people"),
    "a dictionary inside": ("pose([{'x': 1}] * 54)", "numbers"),
}


def poses() -> Iterator[Case]:
    for what, (expression, words) in BAD_POSES.items():
        graph = ended(ours("LikenessLayoutFromPoses", poses=value(expression)))
        yield explained(f"poses: {what}", words, graph)
    for what, canvas in {"80000x80000": "80000", "24000x24000": "24000"}.items():
        graph = ours(
            "LikenessLayoutFromPoses", poses=value(f"pose(width={canvas}, height={canvas})"), width=0, height=0
        )
        yield explained(f"poses: canvas of {what}", what, ended(graph))
    one = ours("LikenessLayoutFromPoses", poses=value("pose(width=1, height=1)"), width=8192, height=8192)
    drawn = ended(node("LikenessPoseImage", layout=one))
    yield explained("poses: canvas 1x1, drawn at 8192", "no place", drawn)
    yield right("poses: 0 takes the canvas", ended(ours("LikenessLayoutFromPoses", width=0, height=0)))


# People


def people() -> Iterator[Case]:
    for method in ("LikenessApplyIDPatch", "LikenessApplyInstantID"):
        for what, rows, photos, words in [
            ("weights of 1e25, mean", "normal(1, 2, 512) * 1e25", "mean", "large|1e|length"),
            ("weights of 1e25, normalised mean", "normal(1, 2, 512) * 1e25", "normalised mean", "large|1e|length"),
            ("weights of 1e25, weighted mean", "normal(1, 2, 512) * 1e25", "weighted mean", "large|1e|length"),
            ("weights of 1e25, sequence", "normal(1, 2, 512) * 1e25", "sequence", "large|1e|length"),
            ("opposites, mean", "torch.cat([normal(1, 1, 512), -normal(1, 1, 512)])", "mean", "opposite|cancel|zero"),
            ("opposites, normalised mean", "torch.cat([normal(1, 1, 512), -normal(1, 1, 512)])", "normalised mean",
             "opposite|cancel|zero"),
        ]:  # fmt: skip
            cast = value(f"cast(identity(rows={rows}), identity('Boris'))")
            graph = ended(ours(method, cast=cast, image=picture_of(method, cast, photos), photos=photos))
            yield explained(f"{method}: {what}", words, graph)
        cast = value("unplaced()")
        yield explained(f"{method}: nobody has a place", "no place", ended(ours(method, cast=cast)))
        cast = value("cast(identity(recognisers=['other']), identity('Boris'))")
        yield explained(f"{method}: another recogniser", "other", ended(ours(method, cast=cast)))
    emptied = ours("LikenessPlaceCast", order="custom", custom_order="0,0")
    everybody = ours("LikenessPersonRegion", cast=emptied, person=0)
    yield explained("LikenessPersonRegion: everybody of nobody", "no person 0.*no people", ended(everybody))
    for kind in ("LikenessPoseImage", "LikenessFaceKeypointsImage"):
        drawn = ended(node(kind, cast=emptied))
        yield explained(f"{kind}: a picture of nobody", "No person of the cast .* custom_order", drawn)
    regional = ours("LikenessBindIDTokens", cast=emptied)
    yield explained("LikenessBindIDTokens: nobody", "of 2 people, the cast has 0 people", ended(regional))
    nobody = value("cast(weights=[0.0, 0.0])")
    applied = ours("LikenessApplyInstantID", cast=nobody, image=picture_of("LikenessApplyInstantID", nobody))
    alike = check("alike(a, b)", sampled(applied), plain("LikenessApplyInstantID"))
    yield right("LikenessApplyInstantID: everybody of weight 0", alike)
    applied = ours("LikenessApplyIDPatch", cast=nobody, image=picture_of("LikenessApplyIDPatch", nobody))
    yield told("LikenessApplyIDPatch: everybody of weight 0", "weight 0", ended(applied))
    off = {kind: {"strength": 0.0} for kind in SAMPLED}
    off["LikenessApplyInstantID"] = {"adapter_weight": 0.0, "control_strength": 0.0}
    off["LikenessApplyIPAdapter"] = {"weight": 0.0}
    for kind, changed in off.items():
        applied = ours(kind, **changed)
        if kind == "LikenessApplyParts":
            applied = node(kind, **{name: given for name, given in applied.inputs.items() if name != "pose"})
        yield right(f"{kind}: off", check("alike(a, b)", sampled(applied), plain(kind)))
        yield right(f"{kind}: has an effect", check("unlike(a, b)", sampled(ours(kind)), plain(kind)))
    two = ours("LikenessIDPatchImage", cast=value("cast()"))
    one = ours("LikenessApplyIDPatch", cast=value("cast(identity())"), image=two)
    yield explained("ID-Patch: the image shows two people, the cast one", "2|people|cast", ended(one))
    preview = ours("LikenessApplyIDPatch", image=ours("LikenessIDPatchImage")[1])
    yield explained("ID-Patch: the preview for the image", "no ID patches", ended(preview))
    ninth = {f"person_{n}": value("identity()") for n in range(1, 10)}
    yield explained("Cast: person_9", "person_9", ended(ours("LikenessCast", **ninth)))
    long = ours("LikenessCast", person_1=value("identity('x' * 2500)"))
    yield right("Cast: a name of 2500 letters", ended(long))
    placed = ours("LikenessPlaceCast", cast=value("unplaced(identity('x' * 2500), identity())"))
    yield right("Place Cast: a name of 2500 letters", ended(placed))
    saved = ours("LikenessSaveIdentity", identity=value("identity('x' * 2_000_000)"))
    yield right("Save Identity: a name of 2 MB", ended(saved))
    for what, name in {"None": "None", "a number": "7"}.items():
        for kind, given in {
            "LikenessPlaceCast": {"cast": value(f"unplaced(identity({name}, rows=normal(1, 1, 512)), identity())")},
            "LikenessSaveIdentity": {"identity": value(f"identity({name}, rows=normal(1, 1, 512))")},
        }.items():
            yield right(f"{kind}: the name is {what}", ended(ours(kind, **given)))


def picture_of(method: str, cast, photos: str = "mean"):
    if method == "LikenessApplyIDPatch":
        return ours("LikenessIDPatchImage", cast=cast, photos=photos)
    return ours("LikenessFaceKeypointsImage", cast=cast)


# The face bank

NOT_ON_WINDOWS = ("...", "a/...", "a./b", "con", "NUL", "aux.txt", "com1/a", "lpt9", "<a>", "a*b?", "a|b", 'a"b', "a:b",
                  "a\\b")  # fmt: skip


def bank() -> Iterator[Case]:
    for what, filename, words in [
        ("leads out", "../anna", "leads outside"),
        ("is absolute", "/tmp/anna", "leads outside"),
        ("is empty", "  ", "empty"),
        ("is a folder", "family/", "empty"),
        ("has 5000 levels", "a/" * 5000 + "a", "5000 sub-folders"),
        ("has 300 letters", "a" * 300, "312 bytes"),
        ("has 100 wide letters", "名" * 100, "312 bytes"),
        ("is a lone surrogate", "\ud800", "is empty"),
        *((f"is {name}", name, "no name of a file on Windows") for name in NOT_ON_WINDOWS),
    ]:
        yield explained(
            f"Save Identity: the file name {what}", words, ended(ours("LikenessSaveIdentity", filename=filename))
        )
    for what, filename in {
        "a sub-folder": "family/anna",
        "an ending": "anna.safetensors",
        "other letters": "名前 ü",
        "240 letters": "a" * 240,
        "dots": "anna.b.c",
        "a dot at its end": "Anna Jr.",
        "a device in its middle": "anna con",
        "a NUL": "an\0na",
        "a lone surrogate and more": SURROGATE,
    }.items():
        graph = check("None if Path(a).is_file() else 'no file'", ours("LikenessSaveIdentity", filename=filename)[1])
        yield right(f"Save Identity: {what}", graph)
    shared = value("Identity('Anna', dict.fromkeys(RECOGNISERS, normal(1, 1, 512)), torch.zeros(1, 112, 112, 3))")
    yield right(
        "Save Identity: rows that share memory", ended(ours("LikenessSaveIdentity", identity=shared, filename="shared"))
    )
    nobody = value("Identity('Anna', {}, torch.zeros(0, 112, 112, 3))")
    yield explained("Save Identity: nobody", "no photo", ended(ours("LikenessSaveIdentity", identity=nobody)))
    for file in ("nobody.safetensors", "../x.safetensors", ""):
        graph = ended(node("LikenessLoadIdentity", file=file))
        yield explained(f"Load Identity: {file!r}", "(?i)no saved|outside|not in list", graph)
    for what, expression, words in [
        ("all NaN", "identity(rows=normal(1, 1, 512) * nan)", "it contains NaN"),
        ("1e25", "identity(rows=normal(1, 1, 512) * 1e25)", r"its numbers reach \d\S*e\+25"),
        ("complex", "identity(rows=normal(1, 1, 512).to(torch.complex64))", "complex64"),
        ("pictures of NaN", "replace(identity(), crops=torch.full((1, 112, 112, 3), nan))", "its pictures hold nan"),
        ("pictures of 1e9", "replace(identity(), crops=torch.full((1, 112, 112, 3), 1e9))", r"hold 1e\+09 .* 0 to 1"),
        ("complex pictures", "replace(identity(), crops=torch.zeros(1, 112, 112, 3).to(torch.complex64))", "complex64"),
        ("portraits of floats", "replace(identity(), portraits=portraits(1, torch.float32))", r"are torch\.float32 of"),
        ("portraits of two photos", "replace(identity(), portraits=portraits(2))", r"\(2, 224, 224, 3\)"),
    ]:
        for kind, graph in {
            "Save Identity": ours("LikenessSaveIdentity", identity=value(expression), filename="spoiled"),
            "Cast": ours("LikenessCast", person_1=value(expression)),
            "Load Identity": node("LikenessLoadIdentity", file=value(f"in_the_bank({expression})")),
        }.items():
            yield explained(f"{kind}: {what}", words, ended(graph))


# Texts of a user


def texts() -> Iterator[Case]:
    for what, name in {"a lone surrogate": SURROGATE, "terminal escapes": ESCAPES}.items():
        yao = ours("LikenessIdentity", name=name)
        nobody = ours("LikenessIdentity", name=name, image=value("photo('COFFEE')"), on_no_face="skip")
        no_face = ours("LikenessIdentity", name=name, image=value("photo('COFFEE')"))
        cast = ours("LikenessCast", person_1=yao)
        placed = ours("LikenessPlaceCast", cast=cast, layout=value("layout(slot())"))
        alike = ours("LikenessCast", cast=cast, person_1=yao)
        alike = ours("LikenessPlaceCast", cast=alike, layout=value("layout(slot(), slot())"))
        other = value("identity('Boris', recognisers=['other'])")
        yield explained(f"{what}: Identity, no face", "No face found", ended(no_face))
        yield right(f"{what}: Identity", ended(yao))
        yield right(
            f"{what}: somebody left out", ended(ours("LikenessCast", person_1=nobody, person_2=value("identity()")))
        )
        yield explained(f"{what}: nobody left", "empty", ended(ours("LikenessCast", person_1=nobody)))
        yield explained(f"{what}: weight", "(?i)nan", ended(ours("LikenessCast", person_1=yao, weight_1=value("nan"))))
        yield explained(f"{what}: no place", "no place", ended(ours("LikenessIDPatchImage", cast=cast)))
        yield explained(f"{what}: no recogniser", "ID-Patch needs", ended(ours("LikenessIDPatchImage", cast=placed)))
        hint = value("image()")
        regions = ours("LikenessApplyInstantID", cast=alike, image=hint)
        yield explained(f"{what}: regions alike", "same region", ended(regions))
        yield explained(f"{what}: person 9", "no person 9", ended(ours("LikenessPersonRegion", cast=placed, person=9)))
        yield right(f"{what}: placed", ended(placed))
        yield explained(f"{what}: blend", "in common", ended(ours("LikenessBlendIdentities", a=yao, b=other)))
        yield right(f"{what}: blended name", ended(ours("LikenessBlendIdentities", name=name)))
        for given in ("text", "always"):
            scene = check(
                "None if ''.join(a).isprintable() else 'unfit letters'", ours("LikenessScenes", **{given: name})
            )
            yield right(f"{what}: {given} of scenes", scene)
        yield explained(
            f"{what}: custom order", "number", ended(ours("LikenessPlaceCast", order="custom", custom_order=name))
        )
        label = ours("LikenessPart", label="other", other_label=name)
        yield told(f"{what}: label", "none of the six", ended(label))
        share = ours("LikenessSharePartsAttention", parts=label)
        yield right(f"{what}: label, shared", ended(share))
        yield right(f"{what}: label, encoded", ended(ours("LikenessEncodeParts", parts=label)))
        for kind, given in {
            "LikenessLoadIDPatch": "file", "LikenessLoadInstantID": "file", "LikenessLoadParts2Whole": "folder",
            "LikenessLoadIPAdapter": "file", "LikenessLoadPhotoMaker": "file", "LikenessLoadIdentity": "file",
        }.items():  # fmt: skip
            for how, text in {"": name, ", linked": value(repr(name))}.items():
                graph = check("None", ours(kind, **{given: text}))
                yield explained(f"{what}: {kind}{how}", "(?i)no saved|not found|not in list|name", graph)
        yield explained(f"{what}: other_label empty", "other_label", ended(ours("LikenessPart", label="other")))


# The size of the latent

LATENTS = {
    "half the size": (64, 48, told),
    "twice as large": (256, 192, told),
    "twice as wide": (256, 96, explained),
    "twice as high": (128, 192, explained),
    "a bit smaller": (120, 88, told),
    "16x16": (16, 16, told),
    "8x8": (8, 8, told),
}


def latents() -> Iterator[Case]:
    for kind in ("LikenessApplyIDPatch", "LikenessApplyInstantID"):
        for what, (width, height, said) in LATENTS.items():
            graph = check("drawn(a)", sampled(ours(kind), value(f"latent({width}, {height})")))
            yield said(f"{kind}: the latent is {what}", f"{width}x{height}.*128x96 px", graph)
        first = sampled(ours(kind))
        larger = node(
            "LatentUpscale", samples=first, upscale_method="nearest-exact", width=192, height=144, crop="disabled"
        )
        second = sampled(ours(kind), larger, denoise=0.5)
        yield told(f"{kind}: a second pass at 1.5 times the size", "192x144", check("drawn(a)", second))
        batch = check("drawn(a)", sampled(ours(kind), value("latent(batch=2)")))
        yield right(f"{kind}: a batch of 2", batch)
    for kind in ("LikenessApplyParts", "LikenessSharePartsAttention"):
        for what, (width, height, _) in LATENTS.items():
            graph = check("drawn(a)", sampled(ours(kind), value(f"latent({width}, {height})")))
            yield explained(f"{kind}: the latent is {what}", f"{width}x{height}.*128x96 px", graph)


# The schedule


def schedules() -> Iterator[Case]:
    def ranged(given, start, end):
        return node("ConditioningSetTimestepRange", conditioning=given, start=start, end=end)

    for kind in SAMPLED:
        applied, whole = ours(kind), sampled(ours(kind), steps=4)
        model = value("sdxl()") if kind == "LikenessApplyIDPatch" else applied
        positive, negative = (applied, applied[1]) if kind == "LikenessApplyIDPatch" else (applied[1], applied[2])
        behind = sampler(model, ranged(positive, 0.0, 1.0), ranged(negative, 0.0, 1.0), steps=4)
        yield right(f"{kind}: a range of 0 to 1 behind it", check("alike(a, b)", behind, whole))
        given = {side: ranged(DEFAULTS[kind][side], 0.0, 1.0) for side in ("positive", "negative")}
        before = sampled(ours(kind, **given), steps=4)
        yield right(f"{kind}: a range of 0 to 1 before it", check("alike(a, b)", before, whole))
        halves = [ranged(positive, 0.0, 0.5), ranged(positive, 0.5, 1.0)]
        joined = node("ConditioningCombine", conditioning_1=halves[0], conditioning_2=halves[1])
        met = sampler(model, joined, negative, steps=4)
        yield right(f"{kind}: two ranges that meet behind it", check("alike(a, b, 1e-5)", met, whole))
        given_latent = value("{'samples': normal(3, 1, 4, 12, 16)}")
        none = sampler(model, positive, negative, given_latent, denoise=0.0)
        yield right(f"{kind}: no steps", check("alike(a, b)", none, given_latent))
        for scheduler in ("karras", "sgm_uniform", "beta"):
            yield right(f"{kind}: {scheduler}", check("drawn(a)", sampled(ours(kind), scheduler=scheduler)))


# Conditioning and models of another kind


def others() -> Iterator[Case]:
    for kind in SAMPLED:
        width = 48 if kind in ("LikenessApplyParts", "LikenessSharePartsAttention") else 2048
        other = value("text(1, 77)")
        words = "77|another family"
        yield explained(f"{kind}: text of another width", words, ended(ours(kind, positive=other)))
        twice = value(f"text(1, {width}) + text(2, {width})")
        yield right(f"{kind}: two prompts", ended(ours(kind, positive=twice)))
        if kind != "LikenessApplyIDPatch":
            model = "sdxl()" if kind in ("LikenessApplyParts", "LikenessSharePartsAttention") else "sd15()"
            yield explained(f"{kind}: a model of another family", "made for|fit", ended(ours(kind, model=value(model))))
            applied = ours(kind)
            bare = sampler(DEFAULTS[kind]["model"], applied[1], applied[2])
            yield explained(f"{kind}: its model goes nowhere", "MODEL does not come from", check("drawn(a)", bare))


def wrappers() -> Iterator[Case]:
    """Functions of other packs around the MODEL, of the method that tests/host/test_function_wrappers.py has not."""
    kind = "LikenessApplyIPAdapter"
    model, applied = DEFAULTS[kind]["model"], ours(kind)
    for way, losing in WRAPPERS.items():
        graphs = {
            "before": sampled(ours(kind, model=value(f"wrapped(a, '{way}')", model))),
            "behind": sampler(value(f"wrapped(a, '{way}')", applied), applied[1], applied[2]),
        }
        for where, graph in graphs.items():
            name = f"{kind}: a function around the MODEL {where} it passes on {way}"
            if losing:
                yield explained(name, "another pack on this MODEL .*attack_values", check("drawn(a)", graph))
            else:
                yield right(name, check("alike(a, b, 1e-3)", graph, sampled(applied)))


WRAPPERS = {
    "everything": False, "rows one by one": False, "the last row first": False, "every row twice": False,
    "what it knows": True, "transformer_options of its own": True,
}  # fmt: skip
"""What functions of other packs pass on to the MODEL; whether that loses our conditions, see attack_values.wrapped."""


def rows() -> Iterator[Case]:
    """Casts from Crop Faces, and pictures that do not belong to the crops."""
    apart = value("by_row()")
    for kind in ("LikenessCast", "LikenessPlaceCast", "LikenessPersonRegion", "LikenessMeasure", "LikenessCropFaces"):
        yield explained(f"{kind}: a cast by row", "comes from Crop Faces", ended(ours(kind, cast=apart)))
    condition = node(
        "LikenessIDPatchImage",
        id_patch=value("loaded('id_patch')"),
        cast=apart,
        photos="mean",
        image=node("LikenessPoseImage", cast=apart),
    )
    images = {
        "LikenessApplyIDPatch": condition,
        "LikenessApplyInstantID": node("LikenessFaceKeypointsImage", cast=apart),
    }
    for kind, image in images.items():
        applied = ours(kind, cast=apart, image=image)
        yield right(f"{kind}: by row", check("drawn(a)", sampled(applied, value("latent(128, 128, 2)"))))
        for batch in (1, 3):
            wrong = sampled(applied, value(f"latent(128, 128, {batch})"))
            yield explained(f"{kind}: by row, a latent of {batch}", f"latent has {batch} row", check("drawn(a)", wrong))
        one = ours(kind, cast=apart, image=value("a[:1]", image))
        yield explained(f"{kind}: by row, one image", "image has 1 row", ended(one))
    masked = ours("LikenessApplyInstantID", cast=apart, image=images["LikenessApplyInstantID"], mask=value("mask(2)"))
    yield explained("LikenessApplyInstantID: by row with masks", "picture of their own", ended(masked))
    crops = DEFAULTS["LikenessPasteFaces"]["sampled"]
    for what, changed, words in [
        ("another size", {"images": value("image()")}, "the crops were cut out of"),
        ("two pictures", {"images": value("photo().repeat(2, 1, 1, 1)")}, "got 2 pictures"),
        ("two crops for one", {"sampled": value("a.repeat(2, 1, 1, 1)", crops)}, "got 2 sampled crops"),
        ("a crop that is no square", {"sampled": value("a[:, 1:]", crops)}, "the crops are squares"),
    ]:
        yield explained(f"LikenessPasteFaces: {what}", words, ended(ours("LikenessPasteFaces", **changed)))
    batch = value("photo().repeat(2, 1, 1, 1)")
    report = node("LikenessMeasure", **{**DEFAULTS["LikenessMeasure"], "images": batch})
    noise = value("{'samples': torch.zeros(2, 4, 8, 8), 'batch_index': [0]}")
    short = ours("LikenessPickBest", report=report, images=batch, latents=noise)
    yield explained("LikenessPickBest: a number for two latents", "1 number for 2 latents", ended(short))
    for what, index in {"a tensor": "torch.tensor([3, 4])", "an empty tensor": "torch.tensor([])"}.items():
        noise = value(f"{{'samples': torch.zeros(2, 4, 8, 8), 'batch_index': {index}}}")
        best = ours("LikenessPickBest", report=report, images=batch, latents=noise)
        numbers = "(3, 4)" if "3" in index else "(0, 1)"
        kept = check(f"None if a['batch_index'][0] in {numbers} else a['batch_index']", best[1])
        yield right(f"LikenessPickBest: batch_index is {what}", kept)
    noise = value("{'samples': torch.zeros(2, 4, 8, 8), 'batch_index': 7}")
    odd = ours("LikenessPickBest", report=report, images=batch, latents=noise)
    yield explained("LikenessPickBest: batch_index is 7", "has 7 for 2 latents", ended(odd))
    soft = ours("LikenessCropFaces", feather=4.0)
    yield told("LikenessCropFaces: a feather larger than its square", r"\d+% pasted at most", ended(soft))
    larger = ours("LikenessPasteFaces", sampled=value("a.repeat_interleave(2, 1).repeat_interleave(2, 2)", crops))
    yield right("LikenessPasteFaces: crops upscaled on their way", ended(larger))


SECTIONS = (
    pictures, masks, numbers, sockets, wrappers, places, poses, people, bank, texts, latents, schedules, rows, others,
)  # fmt: skip
