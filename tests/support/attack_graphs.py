"""Small graphs: our nodes with inputs that are right, and whatever is put in their place."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from comfy_api.latest._io import WidgetInput
from pack.core.methods import methods
from pack.nodes.extension import NODES

SAMPLED = (
    "LikenessApplyIDPatch", "LikenessApplyInstantID", "LikenessApplyIPAdapter", "LikenessApplyParts2Whole",
    "LikenessSharePartsAttention",
)  # fmt: skip

TABLE = json.loads(Path(__file__).with_name("attack_inputs.json").read_text("utf-8"))
"""models: for the sampler behind nodes that have none. families: a MODEL of each and a text for it. small: in the place
of defaults that are larger. one_of: inputs of which one is connected. told: what a node's schema does not tell; a node
in front of others comes before them."""
MODELS, SOCKETS = TABLE["models"], TABLE["sockets"]


@dataclass(frozen=True, eq=False)
class Node:
    """A node of a prompt; as the input of another it stands for its first output."""

    kind: str
    inputs: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, output: int) -> Output:
        return Output(self, output)


@dataclass(frozen=True)
class Output:
    node: Node
    number: int


def node(kind: str, **inputs: Any) -> Node:
    return Node(kind, {name: value for name, value in inputs.items() if value is not UNCONNECTED})


UNCONNECTED = object()


def value(expression: str, a: Any = UNCONNECTED, b: Any = UNCONNECTED) -> Node:
    return node("AttackValue", expression=expression, a=a, b=b)


def check(expression: str, a: Any = UNCONNECTED, b: Any = UNCONNECTED, c: Any = UNCONNECTED) -> Node:
    return node("AttackCheck", expression=expression, a=a, b=b, c=c)


FACES = node("LikenessLoadFaceEmbedder", pack="buffalo_sc", recognisers="w600k_mbf", provider="auto")


def derived(schema: Any) -> dict[str, Any]:
    """Inputs of a node by its schema and, where it is a method's, its record: defaults, all that it needs, and a face
    model. A method's own socket is given what its loader makes of a file, see attack_values.file_of."""
    method = next((one for one in methods() if schema.node_id in one.applies), None)
    families = method.families if method else ("SD1.5",)
    model, text = next(given for family, given in TABLE["families"].items() if family in families)
    known = {**SOCKETS, "MODEL": model}
    known |= {"LIKENESS_ADAPTER": f"loaded({method.folder!r})"} if method else {}
    sides = {"positive": value(text.format(1)), "negative": value(text.format(2))}
    found: dict[str, Any] = {}
    for one in schema.inputs:
        kind, options = one.get_io_type(), getattr(one, "options", None)
        if kind == "LIKENESS_FACE_MODEL":
            found[one.id] = FACES
        elif isinstance(one, WidgetInput) and one.default != []:
            default = min(one.default, TABLE["small"][one.id]) if one.id in TABLE["small"] else one.default
            found[one.id] = options[0] if default is None and options else default
        elif not one.optional:
            found[one.id] = sides.get(one.id) or value(known.get(kind, "None"))
    return found


SCHEMAS = {schema.node_id: schema for schema in (one.define_schema() for one in NODES)}
DEFAULTS = {kind: derived(schema) for kind, schema in SCHEMAS.items()}
"""Every node of ours: inputs with which it runs."""
_TYPED = ("FLOAT", "INT", "COMBO", "STRING")


def sockets(kind: str) -> list[Any]:
    """The inputs of a node that are linked or ticked, not typed."""
    return [one for one in SCHEMAS[kind].inputs if one.get_io_type() not in _TYPED]


def ours(kind: str, **changed: Any) -> Node:
    """One of our nodes with its defaults and other inputs; a text for a socket is the expression of what it brings."""
    linked = {one.id for one in sockets(kind)}
    given = {name: value(one) if isinstance(one, str) and name in linked else one for name, one in changed.items()}
    group = TABLE["one_of"].get(kind, ())
    others = dict.fromkeys(group, UNCONNECTED) if changed.keys() & {*group} else {}
    return node(kind, **{**DEFAULTS[kind], **others, **given})


def stands_for(form: Any) -> Any:
    """What a table means: [node of ours, inputs, output], {expression: what stands in it as a}, null for nothing that
    is connected; anything else as it is. The same form is the same node, which then runs once."""
    if isinstance(form, list):
        one = _of_table(json.dumps(form[:2]))
        return one[form[2]] if form[2:] else one
    if isinstance(form, dict):
        ((expression, given),) = form.items()
        return value(expression, stands_for(given))
    return UNCONNECTED if form is None else form


@cache
def _of_table(text: str) -> Node:
    kind, inputs = json.loads(text)
    return ours(f"Likeness{kind}", **{name: stands_for(one) for name, one in inputs.items()})


for _kind, _told in TABLE["told"].items():
    DEFAULTS[f"Likeness{_kind}"] = ours(f"Likeness{_kind}", **{n: stands_for(one) for n, one in _told.items()}).inputs


def sampler(model: Any, positive: Any, negative: Any, latent: Any = None, **changed: Any) -> Node:
    settings = {"seed": 1, "steps": 2, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    latent = latent or value("latent()")
    return node(
        "KSampler", model=model, positive=positive, negative=negative, latent_image=latent, **{**settings, **changed}
    )


def sampled(applied: Node, latent: Any = None, **changed: Any) -> Node:
    """What the sampler makes of a node before it."""
    if applied.kind in MODELS and "model" in applied.inputs:
        outputs = [one.id for one in SCHEMAS[applied.kind].outputs]
        return sampler(applied[outputs.index("model_out")], applied, applied[1], latent, **changed)
    if applied.kind in MODELS:
        return sampler(value(MODELS[applied.kind]), applied, applied[1], latent, **changed)
    return sampler(applied, applied[1], applied[2], latent, **changed)


def ended(applied: Node) -> Node:
    """Whether what one of our nodes gives, or what is drawn with it, is sound."""
    if applied.kind in SAMPLED:
        return check("drawn(a)", sampled(applied))
    return check("sound(a)", applied)
