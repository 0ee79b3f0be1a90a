"""What its nodes cannot work with is refused; what no input of any node takes: tests/host/test_linked_inputs.py."""

from collections.abc import Iterator
from typing import Any

import pytest
from graph_run import run
from graphs import Output, Value, value
from method_rows import EVERY_ROW, Row, applies_to, carries_in_both, has_a_cast_input, latents
from other_packs import with_engine
from pack.core.cast import NotPlaced
from pack.core.checks.errors import BadRange, LikenessError, ModelNotPatched
from sample_values import a_person, cast, flux, loaded, sdxl, sdxl_clip, small, text, unplaced, with_one_unplaced

OFTEN = EVERY_ROW  # none of these takes long


def another(row: Row) -> Iterator[dict[str, Any]]:
    """Inputs of a family that the method is not for: MODEL, one that its file does not fit, conditioning, encoder."""
    narrow = {name: text(n, 33) for n, name in enumerate(("positive", "negative"), 1)}
    if "model" in row.inputs:
        yield {"model": value(flux if row.of_unets else sdxl)}
        links = [link for link in row.defaults.values() if isinstance(link, Value)]
        if row.of_unets and any(link.make is loaded for link in links):
            yield {"model": value(small)}
    if "negative" in row.inputs and row.defaults["negative"].__class__ is not Output:  # of a node in front
        yield {name: conditioning for name, conditioning in narrow.items() if name in row.inputs}
    if "clip" in row.inputs and "model" not in row.inputs:
        yield {"clip": value(sdxl_clip)}


@applies_to(lambda row: bool([*another(row)]), "Nothing that it takes is of a family.")
def test_another_family_is_refused(row: Row) -> None:
    several = [*another(row)]
    assert several
    for changed in several:
        with pytest.raises(LikenessError):
            latents(row.sampled(row.node(**changed), steps=1))


@applies_to(
    lambda row: row.kind != "LikenessPeopleAsReferences" or "mask" in row.inputs,
    "The host itself hands references to the network.",
)
def test_a_network_without_layers_is_refused_for_what_it_is(row: Row) -> None:
    """An engine in the place of the network of a MODEL of the right family."""
    engine = value(with_engine, run(row.model, {})[0])
    applied = row.node(**({"model": engine} if "model" in row.inputs else {}))
    graph = row.sampled(applied, steps=1)
    if "model" not in row.outputs:
        graph.inputs["model"] = engine
    with pytest.raises(LikenessError, match=r"network of another pack \(TheirEngine in pack_of_others\.engine\)"):
        latents(graph)


def needs_places(row: Row) -> bool:
    """Whether it refuses several people without places. References are read everywhere, but for those by region, and
    looks are refused in by_the_node.py."""
    if row.kind == "LikenessSharePartsAttention":
        return False
    return row.kind != "LikenessPeopleAsReferences" or "mask" in row.inputs


@applies_to(has_a_cast_input, "It takes no cast.")
@applies_to(needs_places, "Its people may be in all of the picture.")
def test_several_people_without_places_are_refused(row: Row) -> None:
    for people, named in ((unplaced(), "Anna, Boris have"), (with_one_unplaced(), "Boris has")):
        with pytest.raises(NotPlaced, match=rf"\b(but )?{named} no place"):
            run(row.node(cast=people), {})


@applies_to(
    lambda row: row.method is not None and "embedding" in row.method.reads and row.takes_a_cast,
    "It reads no embedding of people.",
)
def test_people_without_what_it_reads_are_refused(row: Row) -> None:
    """Embeddings of its recogniser; Anna, beside Boris, has them."""
    with_a_stranger = cast(a_person("Anna"), a_person("Boris", recognisers=("nobody",)))
    with pytest.raises(LikenessError, match=rf"{row.method.recogniser}, this person \(Boris\)"):
        latents(row.sampled(row.node(cast=with_a_stranger), steps=1))


def ends(row: Row) -> list[str]:
    """The inputs at which its ranges of the schedule end."""
    return [name for name in row.inputs if name.endswith("end_percent")]


@applies_to(lambda row: bool(ends(row)), "It has no range that ends.")
def test_a_range_that_ends_before_it_starts_is_refused(row: Row) -> None:
    """Each of its ranges."""
    ranges = ends(row)
    assert ranges
    for end in ranges:
        changed = {end: 0.2, end.replace("end", "start"): 0.8}
        with pytest.raises(BadRange, match=r"starts at 0\.8 and ends at 0\.2"):
            latents(row.sampled(row.node(**changed), steps=1))


@applies_to(carries_in_both, "Its conditioning carries nothing that its MODEL reads.")
def test_a_model_that_does_not_read_what_is_carried_is_refused(row: Row) -> None:
    graph = row.sampled(row.node(), steps=2)  # ID tokens come in at the second
    graph.inputs["model"] = row.model
    with pytest.raises(ModelNotPatched, match="MODEL does not come from the node that made its conditioning"):
        latents(graph)
