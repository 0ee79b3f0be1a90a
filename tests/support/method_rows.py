"""The matrix of tests/every_method: every node that puts a method into conditioning or MODEL, with inputs and graphs.

All of it comes from the records and the schemas; what these do not say stands in the tables. A row is such a node.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import other_packs
from graph_run import OURS, run
from graphs import (
    DEFAULTS,
    MODELS,
    PULID_ON_FLUX,
    UNCONNECTED,
    Node,
    Output,
    Value,
    node,
    ours,
    sampled,
    sampler,
    value,
)
from pack.core.methods import Method, methods
from pack.core.places.region_settings import FACE_BOXES
from sample_values import (
    a_person,
    by_row,
    cast,
    dressed,
    flux,
    image,
    klein,
    klein_said,
    latent,
    photo_maker,
    said,
    sdxl,
    with_loras,
    with_regions,
)
from tiny import tiny_dits
from torch import Tensor

ANOTHER_PART = ours("LikenessPart", image=value(image, seed=2))
OTHER: dict[str, dict[str, Any]] = {
    "LikenessPromptPerPerson": {"prompts": "1: down"},
    "LikenessApplyParts2Whole": {"features": ours("LikenessEncodeParts", parts=ANOTHER_PART)},
    "LikenessSharePartsAttention": {"parts": ANOTHER_PART},
}
"""By nodes that are not told who is meant: what makes another picture."""
PLAIN: dict[str, dict[str, Any]] = {
    "LikenessApplyPhotoMaker": {"positive": value(said, "a woman, a man")},
    "LikenessPeopleAsReferences": {"positive": value(klein_said, "in a park"), "negative": value(klein_said, "")},
}
"""By nodes that encode the prompt themselves: what the words are without them."""
BESIDE: dict[str, dict[str, Any]] = {
    "LikenessPeopleAsReferences": {"pictures": UNCONNECTED},
    "LikenessApplyParts2Whole": {"pose": UNCONNECTED},
    "LikenessApplyIDPatch": {"image": UNCONNECTED},
}
"""By nodes: what is there beside the people or parts that are switched off."""
INSTEAD: dict[str, dict[str, Any]] = {
    "LikenessApplyIDPatch": {"id_start_percent": 0.0},
    "LikenessApplyPhotoMaker": {"photo_maker": value(photo_maker, 2), "start_percent": 0.0},
}
"""By nodes: what is there instead of the defaults. Of a method's files the one that reads most, and ranges that begin
with the first step, because most tests sample one step alone and would not meet the people of a later start."""
PEOPLE: dict[str, Callable[..., Any]] = {"LikenessLoRAPerPerson": with_loras}
"""By nodes that act by what people do not have from photos: what becomes of the cast."""
READ_FACES = (
    "LikenessApplyInstantID",
    "LikenessApplyPuLID",
    "LikenessApplyIPAdapter",
)
"""Nodes that read faces, which act in regions unless Place Cast says otherwise."""
ANOTHER_WAY = "the other way to act"
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "LikenessApplyIDPatch": {"tokens from the second step on": {"id_start_percent": 0.2}},
    "LikenessApplyPhotoMaker": {"people from the second step on": {"start_percent": 0.22}},
    "LikenessApplyIPAdapter": {"without its LoRA": {"lora_weight": 0.0}},
    "LikenessSharePartsAttention": {
        "seldom": {"renew_every": 2, "crop_to_mask": True},
        "looks": {"parts": UNCONNECTED, "cast": value(dressed)},
    },
    "LikenessApplyParts2Whole": {
        "looks": {"features": ours("LikenessEncodeParts", parts=UNCONNECTED, cast=value(dressed))}
    },
    "LikenessPeopleAsReferences": {"looks": {"cast": value(dressed)}},
}
"""Other ways through a node than its defaults, beside those that the schemas tell."""


@dataclass(frozen=True)
class Option:
    """What changes what a node keeps, and has a row of its own. inputs: those that have an effect in it alone.

    settings: what stands at some of them.
    """

    inputs: tuple[str, ...]
    settings: dict[str, Any]


OPTIONS: dict[str, dict[str, Option]] = {
    "LikenessApplyIDPatch": {
        "by region": Option(("model", "mask"), {"model": value(sdxl)}),
    },
    "LikenessPeopleAsReferences": {
        "by region": Option(
            ("model", "region_strength", "start_percent", "end_percent", "outside", "mask"),
            {"model": value(klein)},
        ),
    },
}
"""By nodes, the options of each by the name of the variant."""


@dataclass(frozen=True)
class Network:
    """A kind of network that a node works with beside that of its defaults. links: those with it. ignored: inputs that
    have no effect there."""

    links: dict[str, Any]
    ignored: tuple[str, ...]


NETWORKS: dict[str, dict[str, Network]] = {
    "LikenessApplyPuLID": {
        "FLUX.1": Network(PULID_ON_FLUX, ("projection", "zero_tokens")),
    },
}
"""By nodes, their other networks by the name of each."""
CAST_BY_ROW = value(by_row)
BY_ROW: dict[str, Any] = {
    "cast": CAST_BY_ROW,
    "image": ours("LikenessDrawSkeletons", draw="face keypoints", cast=CAST_BY_ROW),
}
"""Inputs of a node for people with a row of the batch each."""
SCHEDULE = {"scheduler": "simple"}
"""Of two steps the second begins in the middle of the schedule, where it counts. With the scheduler "normal" it begins
at the lowest sigma, and what acts in it alone changes the picture by no more than rounding."""
ONE_TEXT_FOR_ALL_ROWS = "LikenessApplyPhotoMaker"
"""The node whose words are one text for all rows of a batch: it refuses people with a row each."""
DRAWN = ("LikenessApplyIDPatch",)
"""Whose picture of the places counts without anybody in them."""


ALONE = ("instant_id, ApplyInstantID", "pulid, ApplyPuLID, FLUX.1", "parts2whole, ApplyParts2Whole", "LoRAPerPerson")
"""Rows that are tried in every run where a test asks what a run does with people, whoever they are: image tokens beside
the text on a UNet and on a transformer, keys and values of another run, weights of a region."""
BESIDE_OTHERS = (*ALONE, "id_patch, ApplyIDPatch", "id_patch, ApplyIDPatch, tokens from the second step on")
"""Those beside nodes of others: also ID tokens and a ControlNet."""
OFTEN = (
    *BESIDE_OTHERS,
    "id_patch, ApplyIDPatch, a row each",
    "instant_id, ApplyInstantID, the other way to act",
    "instant_id, ApplyInstantID, a row each",
    "pulid, ApplyPuLID, FLUX.1, the other way to act",
    "pulid, ApplyPuLID, FLUX.1, a row each",
    "references, PeopleAsReferences, by region",
    "PromptPerPerson",
    "LoRAPerPerson, a row each",
)
"""Those of every other test: also tokens of pictures, words of a region, and the other ways through these nodes."""


@dataclass(frozen=True)
class Row:
    """A node. method: None for one that belongs to none. variant: of the ways through it, the defaults without.
    network: a name of NETWORKS, "" for that of the defaults."""

    method: Method | None = field(compare=False)
    kind: str = ""
    variant: str = ""
    network: str = ""

    def __str__(self) -> str:
        words = (
            self.method.folder if self.method else "",
            self.kind.removeprefix("Likeness"),
            self.network,
            self.variant,
        )
        return ", ".join(filter(None, words))

    @property
    def links(self) -> dict[str, Any]:
        """What is linked with its network in the place of the defaults."""
        return NETWORKS[self.kind][self.network].links if self.network else {}

    @property
    def defaults(self) -> dict[str, Any]:
        """Inputs with which it runs."""
        return {**DEFAULTS[self.kind], **self.links}

    @property
    def inputs(self) -> dict[str, Any]:
        """By id, of its schema: those that have an effect in this variant."""
        without = self._without_effect()
        return {entry.id: entry for entry in OURS[self.kind].define_schema().inputs if entry.id not in without}

    @property
    def outputs(self) -> list[str]:
        """By id, of its schema. An output that this variant gives nothing at has another name."""
        without = self._without_effect()
        names: list[str] = []
        for output in OURS[self.kind].define_schema().outputs:
            name = output.id.removesuffix("_out")
            names.append(f"no {name}" if name in without else name)
        return names

    @property
    def model(self) -> Value:
        """The MODEL of the defaults."""
        return self.defaults.get("model") or MODELS[self.kind]

    @property
    def of_unets(self) -> bool:
        return self.method is None or self.model.make not in (flux, klein)

    @property
    def takes_a_cast(self) -> bool:
        return "cast" in self.inputs and self.kind not in OTHER

    @property
    def runs_here(self) -> bool:
        """Whether this ComfyUI has models for it."""
        return tiny_dits.KNOWN or self.method is None or (self.method.host == "0.3.64" and self.model.make is not flux)

    def node(self, **changed: Any) -> Node:
        applied = ours(self.kind, **{**self.links, **INSTEAD.get(self.kind, {}), **self._of_variant(), **changed})
        if self.kind in PEOPLE:
            people = value(PEOPLE[self.kind], applied.inputs["cast"])
        elif self.variant == ANOTHER_WAY:
            people = value(with_regions, applied.inputs["cast"], acts_in=FACE_BOXES)
        else:
            return applied
        return node(self.kind, **{**applied.inputs, "cast": people})

    def other(self, **changed: Any) -> Node:
        """With other people, or whatever else it is that the node puts in."""
        if self.kind in OTHER:
            changes_of_kind = OTHER[self.kind]
        elif "a row each" in self.variant:
            changes_of_kind = {"cast": value(by_row, names=("Christa", "Daniel"))}
        else:
            changes_of_kind = {"cast": value(cast, a_person("Christa"), a_person("Daniel"))}
        return self.node(**{**changes_of_kind, **changed})

    def off(self) -> list[Node]:
        """The ways to switch it off: its weights at 0, or everybody's."""
        weights = {name: 0.0 for name in self.inputs if _is_weight(name)}
        beside = BESIDE.get(self.kind, {})
        ways = [self.node(**weights, **beside)] if weights else []
        in_front = self.defaults.get("positive")
        if isinstance(in_front, Node) and in_front.kind in APPLIES:
            silent = Row(self.method, in_front.kind).off()[0]
            ways.append(self.node(positive=silent, negative=silent[1]))
        elif "cast" in self.inputs and self.kind not in DRAWN:
            ways.append(self.node(cast=value(cast, weights=(0.0, 0.0)), **beside))
        return ways

    def sampled(self, applied: Node, latent_image: Any = None, **changed: Any) -> Node:
        return sampled(applied, latent_image or self.latent, **{**SCHEDULE, **changed})

    @property
    def latent(self) -> Node:
        if self.variant == "a row each":
            return value(latent, 128, 128, 2)
        return value(latent)

    def plain(self, model: Any = None, latent_image: Any = None, **changed: Any) -> Node:
        """The sampler as with the node, and those of ours in front of it, bypassed."""
        positive, negative = (bypassed(self.node(), name) for name in ("positive", "negative"))
        settings = {**SCHEDULE, **changed}
        return sampler(model or self.model, positive, negative, latent_image or self.latent, **settings)

    def _of_variant(self) -> dict[str, Any]:
        if self.variant == "a row each":
            links = {name: link for name, link in BY_ROW.items() if name in self.inputs}
            if self.kind == "LikenessApplyIDPatch":
                links["image"] = UNCONNECTED  # which it draws itself
            return links
        option = OPTIONS.get(self.kind, {}).get(self.variant)
        if option is not None:
            return option.settings
        return VARIANTS.get(self.kind, {}).get(self.variant, {})

    def _without_effect(self) -> set[str]:
        """Inputs of the node's options that are not this variant's, and those that its network ignores."""
        names = {*NETWORKS[self.kind][self.network].ignored} if self.network else set[str]()
        for variant, option in OPTIONS.get(self.kind, {}).items():
            if variant != self.variant:
                names |= {*option.inputs}
        return names


@dataclass(frozen=True)
class Condition:
    """What a row must be for a test to ask anything of it.

    holds: whether the row is so, known before anything runs. reason: why the test is skipped for a row that is not so.
    """

    holds: Callable[[Row], bool]
    reason: str


def applies_to(holds: Callable[[Row], bool], reason: str) -> Callable[[Any], Any]:
    """A decorator: the test runs for the rows for which every one of its conditions holds.

    tests/every_method/conftest.py reads the conditions when it makes the cases.
    """

    def remembered(test: Any) -> Any:
        test.conditions = (Condition(holds, reason), *conditions_of(test))
        return test

    return remembered


def conditions_of(test: Any) -> tuple[Condition, ...]:
    """The conditions of a test function; none without the decorator above."""
    return getattr(test, "conditions", ())


def often(*names: str) -> Callable[[Any], Any]:
    """A decorator: of the rows the test tries these in every run, in the place of its file's OFTEN."""

    def remembered(test: Any) -> Any:
        test.often = names
        return test

    return remembered


def _is_weight(name: str) -> bool:
    """Not a LoRA's, which is a part of what a method's own weight switches off, nor that of the limit to regions, which
    switches off the limit alone."""
    return name.endswith(("weight", "strength")) and name not in ("lora_weight", "region_strength")


def bypassed(applied: Any, output: str) -> Any:
    """What a node passes on as this output where it is bypassed."""
    while isinstance(applied, (Node, Output)):
        source = applied.node if isinstance(applied, Output) else applied
        if source.kind not in APPLIES:
            return applied
        if source.kind in PLAIN and output in PLAIN[source.kind]:
            return PLAIN[source.kind][output]
        applied = source.inputs[output]
    return applied


@cache
def rows() -> tuple[Row, ...]:
    """Every node of every method, and those that act as these do and belong to none."""
    of_methods: list[Row] = []
    for method in methods():
        kind = method.applies
        of_methods.append(Row(method, kind))
        for option in OPTIONS.get(kind, {}):
            of_methods.append(Row(method, kind, option))
        for network in NETWORKS.get(kind, {}):
            of_methods.append(Row(method, kind, network=network))
    kinds_of_methods = {row.kind for row in of_methods}
    of_no_method: list[Row] = []
    for kind, outputs in _outputs().items():
        if kind not in kinds_of_methods and outputs[1:3] == BOTH_SIDES:
            of_no_method.append(Row(None, kind))
    return (*of_methods, *of_no_method)


def with_variants(of_rows: Iterable[Row]) -> list[Row]:
    """Each row, and the other ways through its node."""
    ways_through: list[Row] = []
    for row in of_rows:
        if row.variant:
            ways_through.append(row)
            continue
        variants = ["", *VARIANTS.get(row.kind, {})]
        if row.kind in READ_FACES:
            variants.append(ANOTHER_WAY)
        if has_rows(row):
            variants.append("a row each")
        ways_through += [replace(row, variant=variant) for variant in variants]
    return ways_through


def has_rows(row: Row) -> bool:
    """Whether people may have a row of the batch each. Options of a node do not act on these."""
    if row.variant in OPTIONS.get(row.kind, {}):
        return False
    return row.takes_a_cast and row.kind != ONE_TEXT_FOR_ALL_ROWS


def has_a_cast_input(row: Row) -> bool:
    """Also where what the node puts in is not the cast's people alone."""
    return "cast" in row.inputs


def patches_the_model(row: Row) -> bool:
    return "model" in row.outputs


def carries_in_both(row: Row) -> bool:
    """Whether its MODEL reads what its conditioning carries."""
    return {"model", "positive"} <= {*row.outputs}


BOTH_SIDES = ["positive", "negative"]


def _outputs() -> dict[str, list[str]]:
    """By node: the names of its outputs."""
    names: dict[str, list[str]] = {}
    for kind, node_class in OURS.items():
        names[kind] = [output.id.removesuffix("_out") for output in node_class.define_schema().outputs]
    return names


APPLIES = {method.applies for method in methods()} | {
    kind for kind, outputs in _outputs().items() if outputs[1:3] == BOTH_SIDES
}
EVERY_ROW = [str(row) for row in rows()]


def latents(graph: Node, outputs_by_node: dict[Node, Any] | None = None) -> Tensor:
    return run(graph, {} if outputs_by_node is None else outputs_by_node)[0]["samples"]


def two(applied: Node, **changed: Any) -> Node:
    """Two pictures of one step. changed: of the sampler."""
    graph = sampled(applied, value(latent, batch=2), steps=1)
    return node(graph.kind, **{**graph.inputs, **changed})


def around(applied: Any, function: Callable[..., Any]) -> Value:
    """A MODEL with a function of other_packs.py around it."""
    return value(other_packs.around, applied, function)


def inside(applied: Any, function: Callable[..., Any]) -> Value:
    """A MODEL with a function of other_packs.py around its UNet."""
    return value(other_packs.inside, applied, function)


@cache
def untouched(make: Any) -> Value:
    """The MODEL that this function makes once, made anew, for no node of ours and no other test.

    The MODELs of the rows are made once and shared: what a run left in one of them would be in both sides of a
    comparison.
    """
    return value(make.__wrapped__)


@cache
def picture(row: Row, case: str = "a") -> Tensor:
    """`plain`, of a MODEL that ours has never met, or with the node: `a`, or `b` for other people.

    Sampled once for all tests.
    """
    if case == "plain":
        return latents(row.plain(untouched(row.model.make)))
    return latents(row.sampled(row.node() if case == "a" else row.other()))


def attributes(row: Row) -> dict[str, tuple[str, ...]]:
    """What each module of the row's MODEL has of its own, such as a `forward` that somebody has put in, and its hooks.

    A run shares the modules with every other, and leaves none of it.
    """
    network = run(row.model, {})[0].model.diffusion_model
    names_by_module: dict[str, tuple[str, ...]] = {}
    for name, module in network.named_modules():
        hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
        names_by_module[name] = (*sorted(vars(module)), *map(repr, hooks))
    return names_by_module


def model_behind(row: Row, applied: Node) -> Any:
    """The MODEL that the node gives on; the row's own where it gives none."""
    if "model" not in row.outputs:
        return row.model
    return applied[row.outputs.index("model")]


def in_front(applied: Node, model: Node) -> Node:
    """The same node with another MODEL."""
    return node(applied.kind, **{**applied.inputs, "model": model})
