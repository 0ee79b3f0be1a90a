"""Masks that ComfyUI's own SAM3 Detect makes of words: what its code puts out is what our nodes take.

Its published network has 848 million weights; here its own code around the network runs, on what a network finds.
"""

from typing import Any

import pytest
import torch
from comfy.model_patcher import ModelPatcher
from pack.core.cast import Member, PlacedCast, Slot
from pack.nodes import parts, places
from tiny import people_made
from torch import Tensor

sam3 = pytest.importorskip("comfy_extras.nodes_sam3", reason="this ComfyUI has no SAM3 nodes")

SIDE = 96
LEFT, RIGHT, STRANGER = (8, 8, 40, 90), (56, 8, 88, 90), (44, 2, 50, 12)
"""x0, y0, x1, y1 of what is found, px."""


class Model(torch.nn.Module):
    """SAM3's network by its signature: it finds the same things for every word, the surest first."""

    def __init__(self) -> None:
        super().__init__()
        self.diffusion_model = self.found

    def get_dtype(self) -> torch.dtype:
        return torch.float32

    def found(self, image: Tensor, orig_size: tuple[int, int], **conditions: Any) -> dict[str, Tensor]:
        assert image.shape == (1, 3, 1008, 1008)
        assert conditions["text_embeddings"].shape == (1, 32, 8)
        boxes = torch.tensor([LEFT, RIGHT, STRANGER]).float()
        masks = torch.full((3, *orig_size), -5.0)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist(), strict=True):
            mask[y0:y1, x0:x1] = 5.0
        return {"boxes": boxes[None], "scores": torch.tensor([[3.0, 2.0, 1.0]]), "masks": masks[None]}


def detected(most: int = 3, threshold: float = 0.5, individual: bool = True) -> Tensor:
    """What SAM3 Detect gives for a word with so many detections at most."""
    model = ModelPatcher(Model(), torch.device("cpu"), torch.device("cpu"))
    texts = [{"cond": torch.zeros(1, 32, 8), "attention_mask": None, "max_detections": most}]
    conditioning = [[torch.zeros(1, 32, 8), {"sam3_multi_cond": texts}]]
    image = torch.zeros(1, SIDE, SIDE, 3)
    settings = {"threshold": threshold, "refine_iterations": 0, "individual_masks": individual}
    return sam3.SAM3_Detect.execute(model, image, conditioning, **settings).args[0]


def placed() -> PlacedCast:
    slots = (Slot((24.0, 20.0), (16, 12, 32, 28)), Slot((72.0, 20.0), (64, 12, 80, 28)))
    return PlacedCast(tuple(Member(people_made.a_person(n), 1.0, slot) for n, slot in enumerate(slots)), SIDE, SIDE)


SHOES = {"image": torch.rand(1, SIDE, SIDE, 3), "label": "shoes", "other_label": "", "weight": 1.0}
REGION = {"person": 1, "extent": "face", "margin": 0.25, "feather": 32}
CANVAS = {"width": 0, "height": 0, "fit": "crop", "body": "half"}


def test_what_words_find_becomes_parts_places_and_regions(caplog: pytest.LogCaptureFixture) -> None:
    masks, joined_mask = detected(), detected(individual=False)
    assert masks.shape == (3, SIDE, SIDE)
    assert joined_mask.shape == (1, SIDE, SIDE)
    part_list, sheet = parts.PartNode.execute(**SHOES, mask=masks).args
    joined_part_list, joined_sheet = parts.PartNode.execute(**SHOES, mask=joined_mask).args
    (part,) = part_list.parts
    (joined_part,) = joined_part_list.parts
    assert torch.equal(part.mask, joined_part.mask)
    assert (part.pieces, joined_part.pieces) == (3, 1)
    assert "is a batch of 3 masks, which count together: 58% of the picture" in caplog.text
    assert not torch.equal(sheet, joined_sheet), "the sheet says how many there are"

    layout = places.LayoutFromPicture.execute(None, **CANVAS, masks=detected(most=2)).args[0]
    assert [torch.equal(slot.mask, mask) for slot, mask in zip(layout.slots, masks, strict=False)] == [True, True]
    for person, mask in ((1, masks[0]), (2, masks[1])):
        region = places.MaskOfAPersonsPlace.execute(placed(), **{**REGION, "person": person}, masks=masks).args[0]
        assert torch.equal(region[0], mask)
    assert "Of 3 masks taken: 2; outside all places: 3" in caplog.text
