"""The nodes, one file per step of the graph."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from ..bridge import examples, folders, inputs, routes
from . import (
    bind_references,
    body_surface,
    doctor,
    id_patch,
    infinite_you,
    instant_id,
    ip_adapter,
    measure,
    parts,
    people,
    person_prompts,
    photo_maker,
    photos,
    places,
    references,
    scenes,
    second_pass,
    share_parts,
    story_maker,
    style,
    with_anyone,
)

folders.register()

STEPS = (
    people, photos, places, person_prompts, id_patch, instant_id, ip_adapter, style, story_maker, photo_maker,
    infinite_you, with_anyone, parts, share_parts, references, bind_references, body_surface, measure, second_pass,
    scenes, doctor,
)  # fmt: skip
NODES = [inputs.checked(node) for step in STEPS for node in step.NODES]


class Likeness(ComfyExtension):
    """What the host asks for the pack's nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        routes.serve()
        examples.provide()
        return NODES
