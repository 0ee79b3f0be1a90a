"""The matrix of tests/promises: every node that puts a method into conditioning or MODEL, with inputs and graphs.

All of it comes from the records and the schemas; what these do not say stands in the tables. A row is such a node; its
promises are its method's.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import tiny_dits
from attack_graphs import DEFAULTS, MODELS, UNCONNECTED, Node, Output, node, ours, sampled, sampler, stands_for, value
from graph_run import OURS, run
from pack.core.methods import Method, methods
from torch import Tensor

_TABLE = json.loads(Path(__file__).with_name("promised.json").read_text("utf-8"))


def _read(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: stands_for(given) for name, given in inputs.items()}


OTHER, PLAIN, BESIDE, GIVEN = (
    {kind: _read(inputs) for kind, inputs in _TABLE[part].items()} for part in ("other", "plain", "beside", "given")
)
"""By nodes, as attack_graphs.stands_for reads it. What makes another picture of one that is not told who is meant. What
the words are without one that encodes the prompt itself. What is there beside the people or parts that are switched
off. What is given instead of the defaults: of a method's files the one that reads most, and ranges that begin with the
first step, because most tests sample one step alone and would not meet the people of a later start."""
PEOPLE: dict[str, str] = _TABLE["people"]
"""What a cast becomes, in the expression `a`, for a node that acts by what people do not have from photos."""
VARIANTS = {kind: {way: _read(inputs) for way, inputs in ways.items()} for kind, ways in _TABLE["variants"].items()}
"""Other ways through a node than its defaults, beside those that the schemas tell."""
OPTIONS: dict[str, dict[str, dict[str, Any]]] = _TABLE["options"]
"""By nodes, what is an option of them and has a row of its own, as it changes what they promise. By the name of the
variant: `inputs`, which have an effect in it alone, and what is `given` at some of these."""
BY_ROW = _read(_TABLE["by row"])
SCHEDULE = {"scheduler": "simple"}
"""Of two steps the second begins in the middle of the schedule, where it counts. With the scheduler "normal" it begins
at the lowest sigma, and what acts in it alone changes the picture by no more than rounding."""
DRAWN = ("LikenessApplyIDPatch",)
"""Whose picture of the places counts without anybody in them."""


@dataclass(frozen=True)
class Row:
    """A node. method: None for one that belongs to none. variant: of the ways through it, the defaults without."""

    method: Method | None = field(compare=False)
    kind: str = ""
    variant: str = ""

    def __str__(self) -> str:
        words = self.method.folder if self.method else "", self.kind.removeprefix("Likeness"), self.variant
        return ", ".join(filter(None, words))

    @property
    def inputs(self) -> dict[str, Any]:
        """By id, of its schema: those that have an effect in this variant."""
        without = self._without_effect()
        return {one.id: one for one in OURS[self.kind].define_schema().inputs if one.id not in without}

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
    def model(self) -> Node:
        """The MODEL of the defaults."""
        return DEFAULTS[self.kind].get("model") or value(MODELS[self.kind])

    @property
    def of_unets(self) -> bool:
        return self.method is None or bool({"SDXL", "SD1.5"} & {*self.method.families})

    @property
    def takes_a_cast(self) -> bool:
        return "cast" in self.inputs and self.kind not in OTHER

    @property
    def runs_here(self) -> bool:
        """Whether this ComfyUI has models for it."""
        return tiny_dits.KNOWN or self.method is None or self.method.host == "0.3.64"

    def node(self, **changed: Any) -> Node:
        made = ours(self.kind, **{**GIVEN.get(self.kind, {}), **self._of_variant(), **changed})
        if self.kind not in PEOPLE:
            return made
        return node(self.kind, **{**made.inputs, "cast": value(PEOPLE[self.kind], made.inputs["cast"])})

    def other(self, **changed: Any) -> Node:
        """With other people, or whatever else it is that the node puts in."""
        cast = {"cast": value("cast(identity('Christa'), identity('Daniel'))")}
        if "a row each" in self.variant:
            cast = {"cast": value("by_row(names=('Christa', 'Daniel'))")}
        return self.node(**{**(OTHER.get(self.kind) or cast), **changed})

    def off(self) -> list[Node]:
        """The ways to switch it off: its weights at 0, or everybody's."""
        weights = {name: 0.0 for name in self.inputs if _is_weight(name)}
        beside = BESIDE.get(self.kind, {})
        ways = [self.node(**weights, **beside)] if weights else []
        in_front = DEFAULTS[self.kind].get("positive")
        if isinstance(in_front, Node) and in_front.kind in APPLIES:
            silent = Row(self.method, in_front.kind).off()[0]
            ways.append(self.node(positive=silent, negative=silent[1]))
        elif "cast" in self.inputs and self.kind not in DRAWN:
            ways.append(self.node(cast=value("cast(weights=(0.0, 0.0))"), **beside))
        return ways

    def sampled(self, applied: Node, latent: Any = None, **changed: Any) -> Node:
        return sampled(applied, latent or self.latent, **{**SCHEDULE, **changed})

    @property
    def latent(self) -> Node:
        return value("latent(128, 128, 2)") if self.variant == "a row each" else value("latent()")

    def plain(self, model: Any = None, latent: Any = None, **changed: Any) -> Node:
        """The sampler as with the node, and those of ours in front of it, bypassed."""
        given = {name: bypassed(self.node(), name) for name in ("positive", "negative")}
        settings = {**SCHEDULE, **changed}
        return sampler(model or self.model, given["positive"], given["negative"], latent or self.latent, **settings)

    def _of_variant(self) -> dict[str, Any]:
        if self.variant == "a row each":
            image = {"image": UNCONNECTED} if self.kind == "LikenessApplyIDPatch" else {}  # which it draws itself
            return {**{name: given for name, given in BY_ROW.items() if name in self.inputs}, **image}
        if self.variant == "the other way to act":
            options, default = self.inputs["acts_in"].options, self.inputs["acts_in"].default
            return {"acts_in": next(one for one in options if one != default)}
        option = OPTIONS.get(self.kind, {}).get(self.variant)
        if option is not None:
            return _read(option["given"])
        return VARIANTS.get(self.kind, {}).get(self.variant, {})

    def _without_effect(self) -> set[str]:
        """Inputs of the node's options that are not this variant's."""
        names: set[str] = set()
        for variant, option in OPTIONS.get(self.kind, {}).items():
            if variant != self.variant:
                names |= {*option["inputs"]}
        return names


@dataclass(frozen=True)
class Condition:
    """What a row must be for a test to ask anything of it.

    holds: whether the row is so, known before anything runs. reason: the sentence that docs/status.md shows for a row
    that is not so; such a row has no case of the test.
    """

    holds: Callable[[Row], bool]
    reason: str


def applies_to(holds: Callable[[Row], bool], reason: str) -> Callable[[Any], Any]:
    """A decorator: the test has cases for the rows for which every one of its conditions holds.

    tests/promises/conftest.py reads the conditions when it makes the cases.
    """

    def remembered(test: Any) -> Any:
        test.conditions = (Condition(holds, reason), *conditions_of(test))
        return test

    return remembered


def conditions_of(test: Any) -> tuple[Condition, ...]:
    """The conditions of a test function; none without the decorator above."""
    return getattr(test, "conditions", ())


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
        for kind in method.applies:
            of_methods.append(Row(method, kind))
            for option in OPTIONS.get(kind, {}):
                of_methods.append(Row(method, kind, option))
    known = {one.kind for one in of_methods}
    others = [kind for kind, outputs in _outputs().items() if kind not in known and outputs[1:3] == BOTH_SIDES]
    return (*of_methods, *(Row(None, kind) for kind in others))


def with_variants(promised: Iterable[Row]) -> list[Row]:
    """Each row, and the other ways through its node."""
    found: list[Row] = []
    for one in promised:
        if one.variant:
            found.append(one)
            continue
        ways = ["", *VARIANTS.get(one.kind, {})]
        ways += ["the other way to act"] if "acts_in" in one.inputs else []
        ways += ["a row each"] if has_rows(one) else []
        found += [replace(one, variant=way) for way in ways]
    return found


def has_rows(one: Row) -> bool:
    """Whether people may have a row of the batch each. Options of a node do not act on these."""
    if one.variant in OPTIONS.get(one.kind, {}):
        return False
    return one.takes_a_cast and (one.method is None or "rows" not in one.method.not_promised)


def takes_a_cast(one: Row) -> bool:
    return one.takes_a_cast


def has_a_cast_input(one: Row) -> bool:
    """Also where what the node puts in is not the cast's people alone."""
    return "cast" in one.inputs


def patches_the_model(one: Row) -> bool:
    return "model" in one.outputs


def carries_in_both(one: Row) -> bool:
    """Whether its MODEL reads what its conditioning carries."""
    return {"model", "positive"} <= {*one.outputs}


BOTH_SIDES = ["positive", "negative"]


def _outputs() -> dict[str, list[str]]:
    return {kind: [one.id.removesuffix("_out") for one in each.define_schema().outputs] for kind, each in OURS.items()}


APPLIES = {kind for method in methods() for kind in method.applies} | {
    kind for kind, outputs in _outputs().items() if outputs[1:3] == BOTH_SIDES
}


def latents(graph: Node, made: dict[Node, Any] | None = None) -> Tensor:
    return run(graph, {} if made is None else made)[0]["samples"]


def two(applied: Node, **changed: Any) -> Node:
    """Two pictures of one step. changed: of the sampler."""
    graph = sampled(applied, value("latent(batch=2)"), steps=1)
    return node(graph.kind, **{**graph.inputs, **changed})


def around(applied: Any, function: str, where: str = "around") -> Node:
    """A MODEL with a function of other_packs.py around it, or inside, around its UNet."""
    return value(f"other_packs.{where}(a, other_packs.{function})", applied)


@cache
def untouched(expression: str) -> Node:
    """The MODEL that this expression stands for, made anew, for no node of ours and no other test.

    The MODELs of the rows are made once and shared: what a run left in one of them would be in both sides of a
    comparison.
    """
    return value(expression.replace("()", ".__wrapped__()"))


@cache
def picture(one: Row, which: str = "a") -> Tensor:
    """`plain`, of a MODEL that ours has never met, or with the node: `a`, or `b` for other people.

    Sampled once for all promises.
    """
    if which == "plain":
        return latents(one.plain(untouched(one.model.inputs["expression"])))
    return latents(one.sampled(one.node() if which == "a" else one.other()))


def attributes(one: Row) -> dict[str, tuple[str, ...]]:
    """What each module of the row's MODEL has of its own, such as a `forward` that somebody has put in, and its hooks.

    A run shares the modules with every other, and leaves none of it.
    """
    network = run(one.model, {})[0].model.diffusion_model
    known: dict[str, tuple[str, ...]] = {}
    for name, module in network.named_modules():
        hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
        known[name] = (*sorted(vars(module)), *map(repr, hooks))
    return known


def model_behind(row: Row, applied: Node) -> Any:
    """The MODEL that the node gives on; the row's own where it gives none."""
    if "model" not in row.outputs:
        return row.model
    return applied[row.outputs.index("model")]


def in_front(applied: Node, model: Node) -> Node:
    """The same node with another MODEL."""
    return node(applied.kind, **{**applied.inputs, "model": model})
