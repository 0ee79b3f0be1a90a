"""IP-Adapter: a file of any kind, applied for one person or many, and Style per Person: drawn like pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from comfy.clip_vision import ClipVisionModel
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor
from torch.nn.functional import normalize

from ...bridge import encode, lora, notes, schema, scopes, unet
from ...bridge.conditioning import Conditioning
from ...bridge.cross_attention.injections import Injection
from ...bridge.load import FileLoader, Loaded, Published
from ...bridge.lora import with_lora
from ...bridge.schedule import schedule_range
from ...bridge.scopes import Scope, check_fits, injections
from ...core.errors import BadCast, BadSetup
from ...core.families import SDXL, of_text
from ...core.identities import PHOTOS, combine, portraits
from ...core.methods import method
from ...core.people import Cast, Identity, require_places
from ...core.pictures import as_masks
from ...core.places import regions
from ...core.places.person_region import BadRegion
from ...core.prompts import named
from ...core.text import plain
from ..categories import IN_OTHER_METHODS
from ..sockets import CastOrPersonSocket, CastSocket, adapter_socket
from . import net
from .net import IPAdapterNet, Variant

METHOD = method("ip_adapter")
FILE = Published.of(METHOD, "IP-Adapter")


@dataclass(frozen=True)
class IPAdapter(Loaded[IPAdapterNet]):
    """A loaded file. variant: what it reads, and how its authors used it."""

    variant: Variant = field(kw_only=True)

    def tokens(self, embeddings: Tensor | None, seen: Tensor | None, shortcut: float = 1.0) -> Tensor:
        """Of n photos or pictures, (1, tokens, width) float32 on the CPU.

        embeddings: (n, 512), seen: (n, ...) by CLIP; None for what the file does not read. shortcut: in Plus v2 how
        much of what CLIP sees is added.
        """
        embeddings, seen = (x if x is None else self.beside(x) for x in (embeddings, seen))
        return self.net.tokens(embeddings, seen, shortcut if self.variant.shortcut else None).cpu()

    def seen(self, clip: ClipVisionModel, pictures: Tensor) -> Tensor:
        """What the file reads of pictures (n, H, W, 3) by CLIP, (n, ...). Raises WrongEncoder, BadPicture."""
        kind = encode.STATES if self.variant.clip == "states" else encode.EMBEDS
        return encode.seen(clip, pictures, kind, self.net.seen)

    def nothing(self, clip: ClipVisionModel | None) -> Tensor:
        """What it reads instead on the negative side, (1, ...). Raises WrongEncoder, BadPicture."""
        states, width = self.variant.clip == "states", self.net.seen
        if clip is None:
            kind = encode.STATES if states else encode.EMBEDS
            raise encode.WrongEncoder("not connected", kind, width)
        return encode.nothing(clip, width) if states else torch.zeros(1, width)


IPAdapterSocket = adapter_socket(METHOD.title, IPAdapter)


def load_ip_adapter(path: str, plus_version: str) -> IPAdapter:
    """Read any of the method's formats. plus_version: of FaceID Plus, one of VERSIONS. Raises UnsupportedCheckpoint."""
    state = FILE.read(path)
    found = net.versioned(net.variant(state), state, path, plus_version)
    return IPAdapter(FILE.build(path, IPAdapterNet, state), lora.of_adapter(state), variant=found)


APPLY = "Apply IP-Adapter"
AS_MADE = "as the file was made"


class ApplyIPAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessApplyIPAdapter",
            category=IN_OTHER_METHODS,
            inputs=[
                *schema.applied_inputs(),
                IPAdapterSocket.Input("ip_adapter"),
                CastOrPersonSocket.Input("cast"),
                io.ClipVision.Input("clip_vision", optional=True),
                io.Float.Input("weight", default=1.0, min=-1.0, max=3.0, step=0.01),
                io.Float.Input("shortcut", default=1.0, min=0.0, max=3.0, step=0.01),
                io.Float.Input("lora_weight", default=1.0, min=0.0, max=2.0, step=0.01),
                *schema.range_inputs(),
                schema.photos_input([AS_MADE, *PHOTOS]),
                schema.advanced(io.Combo.Input("portrait", options=[AS_MADE, *net.CUTS], default=AS_MADE)),
                *schema.scope_inputs(),
            ],
            outputs=schema.applied_outputs(),
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        ip_adapter: IPAdapter,
        cast: Any,  # a Cast or an Identity
        clip_vision: ClipVisionModel | None = None,
        *,
        weight: float,
        shortcut: float,
        lora_weight: float,
        start_percent: float,
        end_percent: float,
        photos: str,
        portrait: str,
        **where: Any,
    ) -> io.NodeOutput:
        cast = scopes.acting(cls, cast, weight, (of_text(ip_adapter.width) or SDXL).token, **where)
        if cast is None:
            return io.NodeOutput(model, positive, negative)
        window = schedule_range("The adapter", start_percent, end_percent)
        check_fits(ip_adapter, METHOD, model, (positive, negative), APPLY)
        scope = scopes.of_faces(cast, APPLY, window, node_id=notes.node_of(cls), **where)
        made = ip_adapter.variant
        joined, cut = made.photos if photos == AS_MADE else photos, made.cut if portrait == AS_MADE else portrait
        how = replace(made, photos=joined, cut=cut)
        carried = _injections(ip_adapter, scope, clip_vision, how, shortcut, weight)
        acting = with_lora(model, ip_adapter.lora, lora_weight, notes.node_of(cls))
        return scope.applied(cls, acting, (positive, negative), carried)


def _injections(
    loaded: IPAdapter, scope: Scope, clip: ClipVisionModel | None, how: Variant, shortcut: float, weight: float
) -> list[Injection]:
    """Of each person for the positive, and of as many zero embeddings for the negative. how: people are read.

    Raises WrongEncoder, BadCast.
    """
    nothing = loaded.nothing(clip) if how.clip else None
    read = [_read(loaded, person.identity, clip, how, shortcut, nothing) for person in scope.people]
    scales = torch.tensor([weight * person.weight for person in scope.people])
    return injections(loaded, scope, [net.alike(side) for side in zip(*read, strict=True)], scales)


def _read(
    loaded: IPAdapter,
    identity: Identity,
    clip: ClipVisionModel | None,
    how: Variant,
    shortcut: float,
    nothing: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The tokens (1, n, width) of a person, and the unconditional ones."""
    embeddings = zeros = seen = unseen = None
    if how.embedding:
        rows = combine(identity, METHOD.recogniser, how.photos, how.title)
        embeddings = normalize(rows, dim=-1) if how.embedding == "normed" else rows
        zeros = torch.zeros_like(rows)
    if clip is not None and nothing is not None:
        seen = _seen(loaded, identity, clip, how)
        unseen = nothing.expand_as(seen)
    return loaded.tokens(embeddings, seen, shortcut), loaded.tokens(zeros, unseen, shortcut)


def _seen(loaded: IPAdapter, identity: Identity, clip: ClipVisionModel, how: Variant) -> Tensor:
    """(n, ...) by CLIP of the pictures of a person, their mean unless they are a sequence."""
    kept = portraits(identity, how.title)
    cut = kept.loose if how.cut == net.LOOSE else kept.aligned
    seen = loaded.seen(clip, (cut.flip(-1) if how.cut == net.SWAPPED else cut).float() / 255)
    return seen if how.photos == net.SEQUENCE else seen.mean(dim=0, keepdim=True)


STYLES = "Style per Person"
NOBODY = "No person is drawn in this style: those who are meant have weight 0."


class StylePerPerson(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessStylePerPerson",
            category=IN_OTHER_METHODS,
            inputs=[
                *schema.applied_inputs(),
                IPAdapterSocket.Input("ip_adapter"),
                io.ClipVision.Input("clip_vision"),
                io.Image.Input("images"),
                CastSocket.Input("cast", optional=True),
                io.String.Input("who", default=""),
                io.Combo.Input("layers", options=list(net.CHOICES)),
                io.Float.Input("weight", default=1.0, min=-1.0, max=3.0, step=0.01),
                *schema.range_inputs(),
                io.Combo.Input("fit", options=[net.PAD, net.CROP]),
                *map(schema.advanced, schema.region_inputs()),
                io.Mask.Input("mask", optional=True),
            ],
            outputs=schema.applied_outputs(),
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        ip_adapter: IPAdapter,
        clip_vision: ClipVisionModel,
        images: Tensor,
        cast: Cast | None = None,
        *,
        who: str,
        layers: str,
        weight: float,
        start_percent: float,
        end_percent: float,
        fit: str,
        mask: Tensor | None = None,
        **region: Any,
    ) -> io.NodeOutput:
        node = notes.node_of(cls)
        if who.strip() and cast is None and mask is None:
            advice = "Connect the cast of Place Cast, or leave who empty for a style of the whole picture."
            raise BadCast(f"{STYLES}: who is {plain(who, 60)!r}, but no cast is connected.", advice)
        placed = None if cast is None or mask is not None else require_places(cast, STYLES)
        drawn = [True]
        if placed is not None:
            meant = named(who, regions.names(placed.people), STYLES)
            drawn = [number in meant and person.weight > 0 for number, person in enumerate(placed.people)]
        notes.tell(node, "" if any(drawn) else NOBODY)
        if not weight or not any(drawn):
            return io.NodeOutput(model, positive, negative)
        if ip_adapter.variant.embedding:
            found = f"the ip_adapter is {ip_adapter.variant.title}, which reads the embedding of a face"
            raise BadSetup(
                f"{STYLES} reads pictures, but {found}.",
                "Load a plain or plus file with Load Adapter, such as ip-adapter-plus_sdxl_vit-h.safetensors from "
                "https://huggingface.co/h94/IP-Adapter, into models/ipadapter.",
            )
        window = schedule_range(STYLES, start_percent, end_percent)
        check_fits(ip_adapter, METHOD, model, (positive, negative), STYLES)
        on = net.chosen_layers([layer[:3] for layer in unet.attention_layers(model)], layers)
        if placed is None:
            everywhere = scopes.everywhere(Cast(()), STYLES, window, node)
            scope = replace(everywhere, regions=None if mask is None else _painted(cast, mask))
        elif placed.by_row:
            scope = scopes.of_bodies(placed, STYLES, window, rows=True, node_id=node, **region)
        else:
            people = [person for person, meant in zip(placed.people, drawn, strict=True) if meant]
            scope = scopes.of_bodies(placed, STYLES, window, people, alone=False, node_id=node, **region)
        scales = weight * torch.tensor(drawn if scope.by_row else [True])
        carried = _of_pictures(ip_adapter, scope, clip_vision, net.fitted(images, fit), on, scales)
        return scope.applied(cls, model, (positive, negative), carried, what="the style", subject="The style")


def _of_pictures(
    loaded: IPAdapter, scope: Scope, clip: ClipVisionModel, pictures: Tensor, on: Sequence[bool], scales: Tensor
) -> list[Injection]:
    """What all the pictures (B, H, W, 3) together add to the positive and, with nothing in each, to the negative, in
    all regions alike.

    on: for each layer whether they act there. scales: (1,), or with a row per person one for each of them.
    Raises WrongEncoder, BadPicture.
    """
    areas = scope.regions
    together = scope if areas is None else replace(scope, regions=areas.amax(0, keepdim=True))
    seen = loaded.seen(clip, pictures)
    both = seen, loaded.nothing(clip).expand_as(seen)
    sides = [loaded.tokens(None, each).expand(len(scales), -1, -1) for each in both]

    def within(one: Injection) -> Injection:
        return replace(one, layers=tuple(layer if is_on else None for layer, is_on in zip(one.layers, on, strict=True)))

    return [within(one) for one in injections(loaded, together, sides, scales)]


def _painted(cast: Cast | None, mask: Tensor) -> Tensor:
    """(1, H, W) where any of the masks is. Raises BadRegion for nothing, and where there is a picture per person."""
    regions.check_one_picture(cast)
    found = as_masks(mask).amax(0, keepdim=True)
    if not found.any():
        raise BadRegion("the style", "the mask is empty", "Paint it, or disconnect it for the whole picture.")
    return found


_VERSION = io.Combo.Input("plus_version", options=list(net.VERSIONS), default=net.BY_THE_FILE, optional=True)
LOADER = FileLoader(FILE, load_ip_adapter, (schema.advanced(_VERSION),))
NODES = [ApplyIPAdapter, StylePerPerson]
