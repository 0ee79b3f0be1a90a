"""People by their pictures on diffusion transformers: references, and on FLUX.1 dev faces; to be counted.

Networks and people are those of transformers.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from pack.bridge.host.schedule import WHOLE_SCHEDULE
from pack.bridge.references.by_region import REFERENCES_BY_REGION, RegionalReferences
from pack.bridge.references.record import LATENTS, REFERENCES, PeopleReferences, ReferenceLatent
from pack.bridge.sampling.carried import carry
from pack.bridge.sampling.on_model import with_kinds
from pack.nodes.pulid.net import reads_behind
from shared import shapes
from shared.standins import Weights
from tiny import tiny_dits

from .figures import Applied, Way
from .transformers import DTYPE, ON_TRANSFORMERS, Network, Transformer, cast
from .unets import PULID_ENCODER, eyes_of_pulid, file_loaded, run, strips

PULID_TEXT = 2048
"""Width of a token of its published file, which has 16 heads."""
PORTRAIT = 512
"""Side in px of a reference."""
SHOWN = {tiny_dits.FLUX_2: 0, tiny_dits.QWEN: 204, tiny_dits.QWEN_2_1: 0}
"""Families that references are counted on, and by how many tokens a text shows each: Qwen's encoder sees it at 384 px,
and frames it. That of Qwen-Image 2.1 sees it, too, but what it has seen is taken out of the text."""


def pulid(network: Network, people: int) -> Applied:
    blocks = sum(reads_behind(network.settings["depth"], network.settings["depth_single_blocks"]))
    width, heads = network.settings["hidden_size"], PULID_TEXT // 128
    contents = shapes.of("pulid-flux", width=width, text=PULID_TEXT, blocks=blocks, heads=heads, **PULID_ENCODER)
    file = _file("pulid", contents)
    return _applied("LikenessApplyPuLID", network, people, pulid=file, **eyes_of_pulid())


def _file(method: str, contents: shapes.Shapes) -> Any:
    return file_loaded(method, Weights(DTYPE).fill(contents))


def _applied(node: str, network: Network, people: int, **inputs: Any) -> Applied:
    """Everybody has a strip of the picture."""
    everybody = {"cast": cast(people, network.side), "mask": strips(people, network.side, network.side)}
    given = {**network.sides(), **everybody, "start_percent": 0.0, **inputs}
    return Applied(*run(node, model=network.model, **given))


def references(network: Network, people: int, by_region: bool = False) -> Applied:
    """What People as References hands over: a portrait each."""
    family = network.transformer.family
    latents = [tiny_dits.latent(family, PORTRAIT, PORTRAIT) for _ in range(people)]
    record = PeopleReferences(
        cast(people, network.side), tuple(map(ReferenceLatent, latents, range(people), range(people)))
    )
    options = {LATENTS: latents, REFERENCES: record}
    positive, negative = (network.text(seed, SHOWN[family] * people, **options) for seed in (1, 2))
    if not by_region:
        return Applied(network.model, positive, negative)
    names = tuple(map(str, range(people)))
    regions = RegionalReferences(
        object(),
        WHOLE_SCHEDULE,
        strips(people, network.side, network.side),
        record,
        names,
        1.0,
        False,
    )
    model = with_kinds(network.model, REFERENCES_BY_REGION)
    return Applied(model, carry(positive, regions), carry(negative, regions))


FACES = {
    "pulid": Way("**PuLID**", pulid),
}
"""Methods on FLUX.1."""
IN_REFERENCES = {
    "references": Way("**People as References**, 512 px, without a MODEL", references),
    "references_by_region": Way("**People as References**, 512 px, by region", partial(references, by_region=True)),
}


def ways_of(transformer: Transformer) -> Mapping[str, Way]:
    """Every way to put people into its pictures."""
    faces = FACES if transformer.family == tiny_dits.FLUX else {}
    return ON_TRANSFORMERS | faces | (IN_REFERENCES if transformer.family in SHOWN else {})
