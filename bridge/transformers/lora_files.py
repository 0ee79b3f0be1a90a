"""Files of LoRAs that draw single people, read for a transformer.

The host's own loader reads them. Where a network has one layer in the place of several of a file (q, k and v), it gives
a patch for each, with the outputs that it changes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from torch import Tensor

from ...core.errors import WrongBaseModel, counted
from ...core.low_rank import LoraKind, LowRank
from ..cross_attention.lora_layers import shape_of
from ..lora_files import layers_not_read, read_host_patches, refuse_misfits
from ..lora_patches import UNFIT_TENSORS, kind_of, lora_of
from .families import TransformerFamily
from .lora_names import more_names
from .person_loras import has_place

_NETWORK = "diffusion_model."
_WEIGHT = ".weight"


Reorder = Callable[[Tensor], Tensor]
"""(out, ...) -> (out, ...), in another order."""


@dataclass(frozen=True)
class FilePart:
    """What a file adds to one layer, or to some of its outputs.

    layer: name of the module. rows: the outputs; None for all. reorder: puts the outputs of the file, (out, rank), into
    the order of the layer; None where it is the same.
    """

    layer: str
    rows: slice | None
    lora: LoraKind
    reorder: Reorder | None = None


@dataclass(frozen=True)
class TransformerLoraFile:
    """What a file adds. clip_patches: to the text encoder, as the host's add_patches takes them."""

    parts: tuple[FilePart, ...]
    clip_patches: Mapping[str, Any]


@dataclass(frozen=True)
class _Patch:
    """A patch of the host for a weight of the network.

    weight: the name of the weight. rows: the outputs that the patch changes; None for all. reorder: puts them into the
    order of the layer, or None. patch: the host's own object.
    """

    weight: str
    rows: slice | None
    reorder: Reorder | None
    patch: Any


def read_lora_file(
    file: str, model: ModelPatcher, clip: CLIP, family: TransformerFamily, by_region: bool
) -> TransformerLoraFile:
    """What a file adds to a MODEL's network and to the text encoder.

    by_region: whether it acts in a part of the picture. Raises what reading a file raises, UnsupportedCheckpoint for
    damaged tensors, NotForOnePerson, and WrongBaseModel unless all of the file finds a layer of its size.
    """
    lora = read_host_patches(file, model, clip, more_names(model, family))
    patches = lora.patches
    clip_patches: dict[str, Any] = {}
    network_patches = list[_Patch]()
    for key, patch in patches.items():
        name = key if isinstance(key, str) else key[0]
        if name.startswith(_NETWORK):
            network_patches.append(_Patch(name, _rows_of(key), _reorder_of(key), patch))
        else:
            clip_patches[name] = patch
    unread = layers_not_read(lora.state, patches.values())
    misfits = [patch for patch in network_patches if not _fits(model, patch)]
    _refuse_unfit_kinds(file, model, family, network_patches, by_region)
    if not patches or unread or misfits:
        layers = counted(len(patches) + len(unread), "layer")
        unfit = sorted(unread) or [patch.weight for patch in misfits]
        first = f"; first {unfit[0]}" if unfit else ""
        base = f"another model ({layers}, of which {len(patches) - len(misfits)} fit{first})"
        raise WrongBaseModel(
            f"The LoRA {file}",
            base,
            f"one that fits the MODEL ({family.name}) and the text encoder",
            f"Use a LoRA made for {family.name}, with names of layers that ComfyUI's Load LoRA knows.",
        )
    return TransformerLoraFile(tuple(_parts(network_patches)), clip_patches)


def _rows_of(key: Any) -> slice | None:
    """The outputs of a weight that a patch changes; None for all.

    key: the host's key of the patch, the name of the weight, or (name, (dimension, start, length)) for a part of it.
    """
    if isinstance(key, str) or key[1] is None:
        return None
    _, start, length = key[1]
    return slice(start, start + length)


def _reorder_of(key: Any) -> Reorder | None:
    """The function that puts the outputs of a patch into the order of its weight; None where they have that order.

    key: the host's key of the patch. It is (name, part, function) where diffusers has scale and shift of the last layer
    in another order.
    """
    if isinstance(key, str) or len(key) < 3:
        return None
    return key[2]


def _parts(patches: list[_Patch]) -> Iterator[FilePart]:
    """The patches as parts of a file, which keep nothing of the host's. All of them are additions of low rank."""
    for patch in patches:
        lora = lora_of(patch.patch)
        assert lora is not None  # another kind has been refused
        yield FilePart(patch.weight.removeprefix(_NETWORK).removesuffix(_WEIGHT), patch.rows, lora, patch.reorder)


def _fits(model: ModelPatcher, patch: _Patch) -> bool:
    """Whether a patch has the size of its layer, or of the outputs that it changes."""
    shape = shape_of(model.get_model_object(patch.weight.removesuffix(_WEIGHT)))
    lora = lora_of(patch.patch)
    if shape is None or lora is None:
        return True  # refused by its kind
    if patch.rows is not None and patch.rows.stop > shape[0]:
        return False
    changed = _shape_changed(shape, patch)
    low_rank = _shapes_of(lora, changed)
    return low_rank is not None and low_rank.fits(changed)


def _shape_changed(shape: Sequence[int], patch: _Patch) -> tuple[int, ...]:
    """The shape of the outputs of a layer that a patch changes, (rows of the patch, in), from that of all: (out,
    in)."""
    out_width = shape[0]
    if patch.rows is not None:
        out_width = patch.rows.stop - patch.rows.start
    return out_width, *shape[1:]


def _shapes_of(lora: LoraKind, shape: Sequence[int]) -> LowRank | None:
    """The two matrices of a LoRA as shapes without numbers (on "meta"), for a layer with weights of this shape.

    None where the tensors of the file do not fit each other or the shape.
    """
    try:
        return lora.to("meta").low_rank(shape)
    except UNFIT_TENSORS:
        return None


def _refuse_unfit_kinds(
    file: str, model: ModelPatcher, family: TransformerFamily, patches: list[_Patch], by_region: bool
) -> None:
    """Raise NotForOnePerson where patches cannot be added for one person. It names every reason with its layers."""
    misfits: dict[str, list[str]] = {}
    for patch in patches:
        reason = _why_not_for_one_person(model, family, patch, by_region)
        if reason is not None:
            misfits.setdefault(reason, []).append(patch.weight)
    refuse_misfits(file, misfits, "LoRA, LoHa or LoKr")


def _why_not_for_one_person(
    model: ModelPatcher, family: TransformerFamily, patch: _Patch, by_region: bool
) -> str | None:
    """Why a patch cannot be added where one person is; None where it can."""
    kind = kind_of(patch.patch)
    if kind is None:
        return f"a whole difference ({patch.patch[0]})"
    name = patch.weight.removesuffix(_WEIGHT)
    shape = shape_of(model.get_model_object(name)) if patch.weight.endswith(_WEIGHT) else None
    if shape is None or len(shape) != 2:
        return "no linear layer"
    if by_region and not has_place(family, name.removeprefix(_NETWORK)):
        return f"without a place in the picture that is known for {family.name}"
    lora = lora_of(patch.patch)
    if lora is None:
        return kind
    if not lora.is_addition:
        return f"{kind} with DoRA or another shape"
    low_rank = _shapes_of(lora, _shape_changed(shape, patch))
    if low_rank is not None and not low_rank.is_two_matrices_alone:
        return f"{kind} on {family.name}"
    return None
