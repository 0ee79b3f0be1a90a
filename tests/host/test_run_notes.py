"""What a sampling run tells under a node of pictures that no row is drawn with, and that it stays quiet where all is
well; what is refused of tiles and of the SDXL refiner."""

from collections.abc import Callable
from functools import cache
from typing import Any

import comfy.sample
import comfy.samplers
import family_encoders
import pytest
import sample_values
import tiny_sdxl
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from figures import relative
from graph_run import run, run_as
from graphs import DEFAULTS, Node, node, value
from logged import messages_of_the_pack
from marks import each
from method_rows import OFTEN, Row, rows
from pack.bridge.host import notes
from pack.core.checks.errors import LikenessError
from sample_values import image
from tiny import tiny_networks
from torch import Tensor

ROWS = [row for row in rows() if row.runs_here and not row.variant]
BY_KIND = {row.kind: row for row in ROWS if not row.network}
PLACED = [row for row in ROWS if row.kind not in ("LikenessPeopleAsReferences", "LikenessApplyParts2Whole")]
PLACED = [row for row in PLACED if row.kind != "LikenessSharePartsAttention"]
PARTS = [BY_KIND[kind] for kind in ("LikenessApplyParts2Whole", "LikenessSharePartsAttention")]
UNETS = [row for row in ROWS if row.of_unets]
TWO = ("instant_id, ApplyInstantID", "pulid, ApplyPuLID, FLUX.1")
"""Rows that are enough in every run: on a UNet and on a transformer."""
OWN_FILES = (
    "LikenessApplyParts2Whole",
    "LikenessSharePartsAttention",
    "LikenessPromptPerPerson",
    "LikenessLoRAPerPerson",
)
"""What was not trained with SDXL's latents: what it shows is the MODEL's own, or of a file that the user chooses."""
ADAPTERS = ("LikenessApplyInstantID", "LikenessApplyIPAdapter", "LikenessApplyPuLID")
WIDTH, HEIGHT = 128, 96


def outputs(row: Row, applied: Node, node_id: str = "") -> tuple[Any, Any, Any]:
    """MODEL, positive and negative of a node, or the MODEL of its defaults. node_id: which it has in a graph."""
    outputs_by_node: dict[Node, Any] = {}
    given = run_as(applied, node_id, outputs_by_node) if node_id else run(applied, outputs_by_node)
    values = dict(zip(row.outputs, given, strict=True))
    model = values.get("model") or run(row.model, outputs_by_node)[0]
    return model, values["positive"], values["negative"]


def empty(model: Any, width: int = WIDTH, height: int = HEIGHT, batch: int = 1) -> Tensor:
    """What Empty Latent Image gives, in the MODEL's channels."""
    return comfy.sample.fix_empty_latent_channels(model, torch.zeros(batch, 4, height // 8, width // 8))


def picture(model: Any, width: int = WIDTH, height: int = HEIGHT) -> Tensor:
    """What VAE Encode gives."""
    latent = empty(model, width, height)
    return torch.randn(latent.shape, generator=torch.Generator().manual_seed(8))


def drawn(applied: tuple[Any, Any, Any], latent: Tensor, denoise: float = 1.0, steps: int = 2) -> Tensor:
    """As KSampler does it."""
    model, positive, negative = applied
    start = comfy.sample.prepare_noise(latent, 1)
    sampler = comfy.samplers.KSampler(model, steps, "cpu", "euler", "normal", denoise, model.model_options)
    return sampler.sample(start, positive, negative, 4.0, latent, seed=1, disable_pbar=True)


# Notes from a run, under the node


class Recorder:
    """A server as far as notes know it: what the browser that has started the run is told, by node and topic."""

    client_id: str | None = "browser"

    def __init__(self) -> None:
        self.told: dict[str, dict[str, str]] = {}
        self.last_prompt_id = "first"

    def send_sync(self, event: str, message: dict[str, str], sid: str) -> None:
        assert (event, message["prompt_id"], sid) == (notes.NOTE, self.last_prompt_id, self.client_id)
        self.told.setdefault(message["node"], {})[message["topic"]] = message["text"]

    def texts(self, node_id: str) -> list[str]:
        return [text for text in self.told[node_id].values() if text]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder_of_notes = Recorder()
    monkeypatch.setattr(notes, "running_server", lambda: recorder_of_notes)
    monkeypatch.setattr(notes, "_logged", {})
    return recorder_of_notes


# What the prompt says

SPEAKS_OF_NOBODY = "The prompt has no word for a person, such as woman or man; the cast has "


@pytest.mark.parametrize("row", each([row for row in ROWS if "positive" in row.outputs], OFTEN), ids=str)
def test_a_prompt_of_nobody_is_told_by_the_node_that_reads_it_first(row: Row, caplog: pytest.LogCaptureFixture) -> None:
    """Through nodes of the host, as a text that is linked too; not behind another node of ours, which has told it."""
    prompt: dict[str, Any] = {
        "text": {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "a bowl of fruit"}},
        "encode": {"class_type": "CLIPTextEncode", "inputs": {"text": ["text", 0]}},
        "flux": {"class_type": "FluxGuidance", "inputs": {"conditioning": ["encode", 0], "guidance": 3.5}},
        "apply": {"class_type": row.kind, "inputs": {"positive": ["flux", 0]}},
    }
    has_people = row.kind not in ("LikenessApplyParts2Whole", "LikenessSharePartsAttention")
    run_as(row.node(), "apply", {}, prompt)
    assert sum(SPEAKS_OF_NOBODY in line for line in messages_of_the_pack(caplog)) == has_people
    caplog.clear()
    prompt["flux"]["class_type"] = "LikenessApplyInstantID"
    run_as(row.node(), "apply", {}, prompt)
    prompt["text"]["inputs"]["value"] = "a group of friends"
    prompt["flux"]["class_type"] = "FluxGuidance"
    run_as(row.node(), "apply", {}, prompt)
    assert not any("The prompt" in line for line in messages_of_the_pack(caplog))


# One picture per row


def moved_on(pictures: Tensor, number: int) -> Tensor:
    """So many times, each 4 px further to the right."""
    return torch.cat([pictures.roll(4 * times, 2) for times in range(number)])


def repeated(pictures: Tensor, number: int) -> Tensor:
    return pictures.repeat(number, 1, 1, 1)


def with_pictures(kind: str, number: int) -> tuple[Row, Node]:
    """The node with so many pictures where one is usual."""
    row = BY_KIND[kind]
    if kind == "LikenessApplyInstantID":
        keypoints = DEFAULTS[kind]["image"]
        return row, row.node(image=value(moved_on, keypoints, number))
    if kind == "LikenessApplyIDPatch":
        condition = DEFAULTS[kind]["image"]
        return row, row.node(image=value(repeated, condition, number))
    return row, row.node(pose=image(batch=number))


PICTURES = {
    "LikenessApplyInstantID": "Apply InstantID: {} keypoint pictures are given, and the latent has {}: ",
    "LikenessApplyIDPatch": "Apply ID-Patch: {} condition pictures are given, and the latent has {}: ",
    "LikenessApplyParts2Whole": "Apply Parts2Whole: {} pose pictures are given, and the latent has {}: ",
}


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_without_a_row_of_the_latent_are_told_once_a_run(
    kind: str, caplog: pytest.LogCaptureFixture, recorder: Recorder
) -> None:
    """Under the node too, of four samplings of a rebatched latent."""
    row, graph = with_pictures(kind, 4)
    applied = outputs(row, graph, "8")
    caplog.clear()
    for _ in range(4):
        drawn(applied, empty(applied[0]))
    (logged,), (told,) = messages_of_the_pack(caplog), recorder.texts("8")
    for text in (logged, told):
        assert text.startswith(PICTURES[kind].format(4, "1 row") + "pictures 2 to 4 are not used. Rebatch Latents ")


@pytest.mark.parametrize("kind", each(PICTURES, ["LikenessApplyIDPatch"]))
@pytest.mark.parametrize("number, batch", [(1, 3), (2, 2), (2, 4)])
def test_pictures_that_fit_the_rows_are_not_told(
    kind: str, number: int, batch: int, caplog: pytest.LogCaptureFixture
) -> None:
    row, node = with_pictures(kind, number)
    applied = outputs(row, node)
    caplog.clear()
    drawn(applied, empty(applied[0], batch=batch))
    assert messages_of_the_pack(caplog) == []


@pytest.mark.both_hosts
@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_that_are_used_unequally_often_are_told(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    row, node = with_pictures(kind, 2)
    applied = outputs(row, node)
    caplog.clear()
    drawn(applied, empty(applied[0], batch=3))
    (text,) = messages_of_the_pack(caplog)
    assert text.startswith(PICTURES[kind].format(2, "3 rows") + "they are used in turn, so picture 1 is used once more")


# Pieces of a picture


def half(row: Row) -> tuple[tuple[Any, Any, Any], int, int]:
    """What a node gives for its canvas, and half of its sides."""
    return outputs(row, row.node()), WIDTH // 2, HEIGHT // 2


@pytest.mark.parametrize("row", each(PLACED, TWO), ids=str)
def test_a_first_pass_at_half_size_and_a_second_at_twice_the_size_are_drawn_without_a_note(
    row: Row, caplog: pytest.LogCaptureFixture
) -> None:
    applied, width, height = half(row)
    caplog.clear()
    drawn(applied, empty(applied[0], width, height))
    drawn(applied, picture(applied[0]), 0.4)
    drawn(applied, picture(applied[0], 2 * WIDTH, 2 * HEIGHT), 0.4)
    assert messages_of_the_pack(caplog) == []


@pytest.mark.parametrize("row", each(PLACED, OFTEN), ids=str)
def test_a_tile_of_another_shape_is_refused_with_advice_for_tiles(row: Row) -> None:
    applied = outputs(row, row.node())
    with pytest.raises(LikenessError, match="Ultimate SD Upscale, other tiles, detailers of faces"):
        drawn(applied, picture(applied[0], 64, 128), 0.4)


@pytest.mark.parametrize("row", each(PARTS, OFTEN), ids=str)
def test_a_tile_of_parts_is_refused_with_advice_for_tiles(row: Row) -> None:
    applied, width, height = half(row)
    with pytest.raises(LikenessError, match="Ultimate SD Upscale, other tiles, detailers of faces"):
        drawn(applied, picture(applied[0], width, height), 0.4)


# The SDXL refiner


@cache
def refiner() -> ModelPatcher:
    """SDXL's refiner by what tells it from SDXL: the host's class, the width of its text, and where its layers are.

    Published with four transformers where this has one.
    """
    config = {
        **tiny_sdxl.HOST_CONFIG,
        "context_dim": 1280,
        "adm_in_channels": 2560,
        "num_res_blocks": [2, 2, 2, 2],
        "channel_mult": [1, 2, 4, 4],
        "transformer_depth": [0, 0, 1, 1, 1, 1, 0, 0],
        "transformer_depth_output": [0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0],
        "transformer_depth_middle": 1,
    }
    return tiny_networks.seeded_model("SDXLRefiner", config, 412)


@cache
def thin_refiner() -> ModelPatcher:
    """A MODEL with SDXL's layers that reads the refiner's text: the width alone tells it."""
    config = {**tiny_sdxl.HOST_CONFIG, "context_dim": 1280, "adm_in_channels": 2560}
    return tiny_networks.seeded_model("SDXLRefiner", config, 412)


@cache
def refiner_clip() -> Any:
    return family_encoders.refiner(1280)


@pytest.mark.parametrize("kind", ["LikenessApplyIDPatch", *ADAPTERS])
def test_the_refiner_in_a_second_sampler_is_named(kind: str) -> None:
    row = BY_KIND[kind]
    _, positive, negative = outputs(row, row.node())
    with pytest.raises(LikenessError, match="refiner") as raised:
        drawn((refiner(), positive, negative), empty(refiner()))
    assert "its own CLIP has encoded and that go through no node of Likeness" in raised.value.advice


@pytest.mark.parametrize("row", each([row for row in UNETS if "positive" in row.inputs], OFTEN), ids=str)
def test_the_refiners_text_or_model_in_a_node_is_named(row: Row) -> None:
    """Both together where the node takes both: what is made for SDXL fits neither."""
    applied = row.node()
    changed = {}
    if row.kind in OWN_FILES:  # without a file of SDXL the refiner alone would be right
        changed = {"model": refiner()} if "model" in row.inputs else {}
    else:
        changed = {side: sample_values.text(seed, 1280) for seed, side in enumerate(("positive", "negative"))}
    with pytest.raises(LikenessError, match="refiner"):
        run(node(applied.kind, **{**applied.inputs, **changed}), {})


@pytest.mark.parametrize("kind", [*ADAPTERS, "LikenessApplyPhotoMaker"])
@pytest.mark.parametrize("model", [refiner, thin_refiner], ids=["refiner()", "thin_refiner()"])
def test_the_refiner_as_the_model_of_a_node_is_named(kind: str, model: Callable[[], Any]) -> None:
    """With the texts of SDXL, which the node looks at first."""
    applied = BY_KIND[kind].node()
    with pytest.raises(LikenessError, match="SDXL refiner"):
        run(node(kind, **{**applied.inputs, "model": model()}), {})


def test_the_refiners_clip_in_photo_maker_is_named() -> None:
    applied = BY_KIND["LikenessApplyPhotoMaker"].node()
    with pytest.raises(LikenessError, match="The clip input is made for the SDXL refiner"):
        run(node(applied.kind, **{**applied.inputs, "clip": refiner_clip()}), {})


# What a note is


@pytest.mark.both_hosts
def test_a_note_from_a_run_is_logged_once_and_told_until_it_is_no_longer_true(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(4):
        notes.tell_of_run("7", "pictures", "four for one")
    assert caplog.messages == ["four for one"]
    notes.tell_of_run("7", "words", "not alike")
    assert recorder.texts("7") == ["four for one", "not alike"]
    recorder.last_prompt_id = "second"
    notes.tell_of_run("7", "words", "")
    notes.tell_of_run("7", "pictures", "four for one")
    assert recorder.told["7"] == {"pictures": "four for one", "words": ""}
    assert caplog.messages == ["four for one", "not alike", "four for one"]


@pytest.mark.both_hosts
def test_a_run_that_no_browser_has_started_is_told_to_none(recorder: Recorder) -> None:
    """The host would send it to all of them."""
    recorder.client_id = None
    notes.tell_of_run("7", "words", "not alike")
    notes.show("7", torch.zeros(1, 8, 8, 3))
    assert recorder.told == {}


@pytest.mark.both_hosts
def test_of_a_list_every_item_has_the_keys_of_the_first() -> None:
    """The host joins what they show, and fails where one lacks a key."""

    def with_a_note() -> io.NodeOutput:
        notes.tell("of the first")
        return without_a_note()

    def without_a_note() -> io.NodeOutput:
        return io.NodeOutput(ui={"images": []})

    first, second = notes.with_notes(with_a_note), notes.with_notes(without_a_note)
    assert first.ui == {"images": [], notes.NOTE: ["of the first"]}
    assert second.ui == {"images": [], notes.NOTE: [""]}


def test_the_pictures_that_are_not_used_are_not_used() -> None:
    """What the note says is so: only the first of four pictures counts for a latent of one row."""
    latents = {}
    for number in (1, 4):
        row, node = with_pictures("LikenessApplyInstantID", number)
        applied = outputs(row, node)
        latents[number] = drawn(applied, empty(applied[0]))
    assert relative(latents[4], latents[1]) < 5e-6
