"""Masks that ComfyUI's own SAM3 Detect makes of words: what its code puts out is what our nodes take.

Its published network has 848 million weights; here its own code around the network runs, on what a network finds.
"""

from __future__ import annotations

from typing import Any

import people_made
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.internal import make_locked_method_func
from comfy_api.latest import io
from pack.core.inputs import BadPicture
from pack.core.parts.parts import BadPart, Parts
from pack.core.people import Person, PlacedCast, Slot
from pack.core.places.regions import BadRegion
from pack.nodes import parts, places
from torch import Tensor

sam3 = pytest.importorskip("comfy_extras.nodes_sam3", reason="this ComfyUI has no SAM3 nodes")

SIDE = 96
LEFT, RIGHT, STRANGER = (8, 8, 40, 90), (56, 8, 88, 90), (44, 2, 50, 12)
"""x0, y0, x1, y1 of what is found, px."""


class Scripted(torch.nn.Module):
    """SAM3's network by its signature: it finds the same things for every word, the surest first."""

    def forward(self, image: Tensor, orig_size: tuple[int, int], **given: Any) -> dict[str, Tensor]:
        assert image.shape == (1, 3, 1008, 1008) and given["text_embeddings"].shape == (1, 32, 8)
        boxes = torch.tensor([LEFT, RIGHT, STRANGER]).float()
        masks = torch.full((3, *orig_size), -5.0)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist(), strict=True):
            mask[y0:y1, x0:x1] = 5.0
        return {"boxes": boxes[None], "scores": torch.tensor([[3.0, 2.0, 1.0]]), "masks": masks[None]}


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.diffusion_model = Scripted()

    def get_dtype(self) -> torch.dtype:
        return torch.float32


def detected(words: int = 1, each: int = 3, threshold: float = 0.5, individual: bool = True) -> Tensor:
    """What SAM3 Detect gives for so many words, each with so many detections at most."""
    model = ModelPatcher(Model(), torch.device("cpu"), torch.device("cpu"))
    texts = [{"cond": torch.zeros(1, 32, 8), "attention_mask": None, "max_detections": each}] * words
    conditioning = [[torch.zeros(1, 32, 8), {"sam3_multi_cond": texts}]]
    image = torch.zeros(1, SIDE, SIDE, 3)
    return sam3.SAM3_Detect.execute(
        model, image, conditioning, threshold=threshold, refine_iterations=0, individual_masks=individual
    ).args[0]


def placed() -> PlacedCast:
    slots = (Slot((24.0, 20.0), (16, 12, 32, 28)), Slot((72.0, 20.0), (64, 12, 80, 28)))
    people = (Person(people_made.identity(n), 1.0, slot) for n, slot in enumerate(slots, 1))
    return PlacedCast(tuple(people), SIDE, SIDE)


def part(mask: Tensor) -> tuple[Parts, Tensor]:
    return parts.Part.execute(torch.rand(1, SIDE, SIDE, 3), "shoes", "", 1.0, mask).args


def test_what_words_find_becomes_parts_places_and_regions(caplog: pytest.LogCaptureFixture) -> None:
    each, together = detected(), detected(individual=False)
    assert each.shape == (3, SIDE, SIDE) and together.shape == (1, SIDE, SIDE)
    (pieces,), (one,) = part(each)[0].parts, part(together)[0].parts
    assert torch.equal(pieces.mask, one.mask) and (pieces.pieces, one.pieces) == (3, 1)
    assert "is a batch of 3 masks, which count together: 58% of the picture" in caplog.text
    assert not torch.equal(part(each)[1], part(together)[1]), "the sheet says how many there are"

    layout = places.LayoutFromFaces.execute(None, 0, 0, "crop", "half", masks=detected(each=2)).args[0]
    assert [torch.equal(slot.mask, mask) for slot, mask in zip(layout.slots, each, strict=False)] == [True, True]
    for person, mask in ((1, each[0]), (2, each[1])):
        region = places.PersonRegion.execute(placed(), person, "face", 0.25, 32, masks=each).args[0]
        assert torch.equal(region[0], mask)
    assert "Of 3 masks taken: 2; outside all places: 3" in caplog.text


def asked(node: type[io.ComfyNode], text: object = "red shoes", **inputs: Any) -> Any:
    """What the host makes of a node in a graph in which SAM3 Detect was asked for this."""
    graph = {
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["9", 1]}},
        "2": {"class_type": "SAM3_Detect", "inputs": {"conditioning": ["1", 0], "image": ["8", 0], "model": ["9", 0]}},
        "3": {"class_type": "GrowMask", "inputs": {"mask": ["2", 0], "expand": 4}},
        "4": {"class_type": "Ours", "inputs": {"mask": ["3", 0], "masks": ["2", 0], "target_mask": ["8", 1]}},
    }
    hidden = {"hidden_inputs": {io.Hidden.unique_id: "4", io.Hidden.prompt: graph}}
    return make_locked_method_func(node, node.FUNCTION, node.PREPARE_CLASS_CLONE(hidden))(**inputs)


SHOES = {"image": torch.rand(1, SIDE, SIDE, 3), "label": "shoes", "other_label": "", "weight": 1.0}
REGION = {"person": 1, "extent": "face", "margin": 0.25, "feather": 32}
CANVAS = {"width": 0, "height": 0, "fit": "crop", "body": "half"}
NOTHING = {"threshold": 0.99}


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda: asked(parts.Part, **SHOES, mask=detected(**NOTHING)), BadPicture, "mask input of Part .*empty batch"),
        (
            lambda: asked(parts.Part, **SHOES, mask=detected(**NOTHING, individual=False)),
            BadPart,
            r"'shoes' .*its mask \(96x96 px\) is empty",
        ),
        (
            lambda: asked(
                places.LayoutFromFaces, masks=detected(**NOTHING), width=0, height=0, fit="crop", body="half"
            ),
            BadPicture,
            "masks input of Layout from Picture .*empty batch",
        ),
        (
            lambda: asked(places.PersonRegion, cast=placed(), **REGION, masks=detected()[2:]),
            BadRegion,
            "region of person 1 .*of 1 mask none lies in that place",
        ),
    ],
)
def test_words_that_find_nothing_are_named(run: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"{message}.* SAM3 Detect was asked for 'red shoes'\. .*[Uu]se (an)?other"):
        run()


def test_words_are_named_only_where_they_are_known() -> None:
    """Not those that are linked, and not where the mask comes from elsewhere."""
    for text, given in ((["7", 0], {"mask": detected(**NOTHING)}), ("hat", {"target_mask": torch.zeros(0, 8, 8)})):
        with pytest.raises(BadPicture) as error:
            asked(parts.Part, text, **SHOES, **given)
        assert "was asked for" not in str(error.value)
