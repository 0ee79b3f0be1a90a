"""Cast as References in the real host: what the encoders and the sampler are given, and of whom."""

from __future__ import annotations

import node_helpers
import torch
from pack.bridge.references import LATENTS, REFERENCES, PeopleReferences, whose
from pack.core.people import Cast


def test_references_are_known_among_those_of_other_nodes():
    theirs, anna, ben, room = (torch.zeros(1, 16, 2, 2) for _ in range(4))
    record = PeopleReferences(Cast(()), (anna, ben), (0, 1))
    entry = [[torch.zeros(1, 3, 8), {LATENTS: [theirs, anna, ben], REFERENCES: record}]]
    (_, options) = node_helpers.conditioning_set_values(entry, {LATENTS: [room]}, append=True)[0]
    assert whose(options) == (None, 0, 1, None)
    assert whose({LATENTS: [ben, anna], REFERENCES: record}) == (1, 0)
    assert whose({LATENTS: [anna.clone()], REFERENCES: record}) == (None,), "by the tensor itself"
    assert whose({LATENTS: [anna]}) == (None,)
    assert whose({REFERENCES: record}) == ()
