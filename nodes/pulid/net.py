"""PuLID: a face embedding and what EVA-CLIP sees of the face become tokens, which SDXL or FLUX.1 read.

On SDXL they stand beside the text in cross-attention. What is read of them is kept apart from the text: the part of it
that lies along what the text gives is taken away (`with_style`), or given back where a pixel looks at the face
(`with_fidelity`). On FLUX.1 the picture reads them behind some blocks.
Source: "PuLID: Pure and Lightning ID Customization via Contrastive Alignment" (arXiv 2404.16022) and its released
pulid/encoders.py, encoders_transformer.py, attention_processor.py and flux/model.py (Apache-2.0).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...core.attention.block_tokens import BlockAttention, BlockTokens, read_tokens
from ...core.attention.cross_attention import PeopleRead, TextRead, beside_text
from ...core.attention.projections import HEAD_DIM, AdapterLayers, ResamplerLayer
from ...core.models.tensors import State, below

STATES = 5
"""How many of EVA-CLIP's hidden states an encoder reads, see eva.STATES_BEHIND."""
_ENCODER, _LAYERS, _BLOCKS = "image_proj.", "ip_adapter.", "pulid_ca."
"""The prefixes of the keys of the encoder, of SDXL's layers and of FLUX.1's attentions, as they are called here."""
_PUBLISHED = {
    "id_adapter_attn_layers.": _LAYERS, "id_adapter.": _ENCODER, "pulid_encoder.": _ENCODER,
    "id_to_k.": "to_k_ip.", "id_to_v.": "to_v_ip.",
}  # fmt: skip
"""What its authors call them. Copies of the SDXL files for ComfyUI have the names of IP-Adapters."""
_BLOCK_HEAD_DIM = 128
"""The width of a head of FLUX.1's attentions. SDXL's encoder has heads of HEAD_DIM."""
_DOUBLE_INTERVAL, _SINGLE_INTERVAL = 2, 4
"""FLUX.1 reads behind each second double block and behind each fourth single block, from the first on."""
_FIRST_TOKENS = 5
"""The tokens of the face embedding, which come first: fidelity gives back where a pixel looks at these."""


def own_names(state: State) -> dict[str, Tensor]:
    """The tensors of a file under the names that they have here, whoever has saved it."""
    renamed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        own_key = key
        for published, own in _PUBLISHED.items():
            own_key = own_key.replace(published, own)
        renamed[own_key] = tensor
    return renamed


# The encoders


def _mapping(state: State, key: str, *, ops: Any, **factory: Any) -> nn.Sequential:
    """Three linear layers, with a norm and LeakyReLU behind the first two, in the sizes of the tensors at `key`."""
    layers: list[nn.Module] = []
    for number in (0, 3, 6):  # between these numbers stand a norm and a LeakyReLU
        out, inside = state[f"{key}.{number}.weight"].shape
        layers.append(ops.Linear(inside, out, **factory))
        if number != 6:
            layers += [ops.LayerNorm(out, **factory), nn.LeakyReLU()]
    return nn.Sequential(*layers)


class IDEncoder(nn.Module):
    """The encoder of version 1: 5 tokens of the id vector, and 1 of each hidden state.

    state: gives the sizes. width: of a token. id_width, state_width: of an id vector and of a hidden state.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.width = len(state["mapping_0.6.weight"])
        self.id_width = state["body.0.weight"].shape[1]
        self.state_width = state["mapping_0.0.weight"].shape[1]
        self.body = _mapping(state, "body", ops=ops, **factory)
        for number in range(STATES):
            for name in (f"mapping_{number}", f"mapping_patch_{number}"):
                self.add_module(name, _mapping(state, name, ops=ops, **factory))

    def forward(self, ids: Tensor, states: Sequence[Tensor]) -> Tensor:
        """The tokens of n photos, (n, 10, width).

        ids: (n, id_width). states: (n, 1 + patches, state_width) each, the class token first.
        """
        tokens = [self.body(ids).unflatten(-1, (-1, self.width))]  # (n, _FIRST_TOKENS, width)
        for number, state in enumerate(states):
            of_class = self.get_submodule(f"mapping_{number}")(state[:, :1])  # (n, 1, width)
            of_patches = self.get_submodule(f"mapping_patch_{number}")(state[:, 1:])  # (n, patches, width)
            tokens.append(of_class + of_patches.mean(dim=1, keepdim=True))
        return torch.cat(tokens, dim=1)

    def tokens(self, ids: Tensor, states: Sequence[Tensor]) -> Tensor:
        """The tokens of all photos of a person, (1, 10 + 5 for each further photo, width).

        Of further photos only the tokens of the id vector are taken, as in the authors' demo. ids, states: as in
        forward.
        """
        first, *further = self(ids, states)  # (10, width) each
        return torch.cat([first, *(tokens[:_FIRST_TOKENS] for tokens in further)])[None]


class IDFormer(nn.Module):
    """The encoder of version 1.1 and of FLUX.1: 32 latents attend to the id vectors and to the hidden states in turn.

    state, width, id_width, state_width: as in IDEncoder.
    """

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        _, self.queries, self.inside = state["latents"].shape
        self.width = state["proj_out"].shape[1]
        self.id_width = state["id_embedding_mapping.0.weight"].shape[1]
        self.state_width = state["mapping_0.0.weight"].shape[1]
        self.latents = nn.Parameter(torch.empty(state["latents"].shape, **factory))
        self.proj_out = nn.Parameter(torch.empty(state["proj_out"].shape, **factory))
        inner = len(state["layers.0.0.to_q.weight"])
        feed_forward = len(state["layers.0.1.1.weight"])
        depth = len({key.split(".")[1] for key in state if key.startswith("layers.")})
        self.layers = nn.ModuleList(
            ResamplerLayer(
                width=self.inside, inner=inner, feed_forward=feed_forward, head_dim=HEAD_DIM, ops=ops, **factory
            )
            for _ in range(depth)
        )
        for number in range(STATES):
            self.add_module(f"mapping_{number}", _mapping(state, f"mapping_{number}", ops=ops, **factory))
        self.id_embedding_mapping = _mapping(state, "id_embedding_mapping", ops=ops, **factory)

    def tokens(self, ids: Tensor, states: Sequence[Tensor]) -> Tensor:
        """The tokens of all photos of a person together, (1, 32, width). ids, states: as in IDEncoder.forward."""
        # 5 tokens of each photo: (1, photos * 5, inside)
        of_ids = _side_by_side(self.id_embedding_mapping(ids).unflatten(-1, (-1, self.inside)))
        # Bare parameters are outside the host's cast-on-use layers, hence the explicit casts.
        latents = torch.cat([self.latents.to(ids), of_ids], dim=1)  # (1, queries + photos * 5, inside)
        layers_of_state = len(self.layers) // len(states)  # each hidden state has its own layers, in order
        for number, state in enumerate(states):
            of_state = self.get_submodule(f"mapping_{number}")(_side_by_side(state))
            inputs = torch.cat([of_ids, of_state], dim=1)  # (1, photos * (5 + 1 + patches), inside)
            for layer in self.layers[number * layers_of_state : (number + 1) * layers_of_state]:
                latents = layer(inputs, latents)
        return latents[:, : self.queries] @ self.proj_out.to(ids)


def _side_by_side(tokens: Tensor) -> Tensor:
    """The tokens of each photo as those of one text: (photos, T, C) -> (1, photos * T, C)."""
    return tokens.flatten(0, 1)[None]


def _encoder(state: State, *, ops: Any, **factory: Any) -> IDEncoder | IDFormer:
    """The encoder whose tensors these are: only an IDFormer has latents."""
    if "latents" in state:
        return IDFormer(state, ops=ops, **factory)
    return IDEncoder(state, ops=ops, **factory)


class EncoderNet(nn.Module):
    """A file of SDXL, or of FLUX.1 and Chroma: its encoder. width: of one token."""

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        """state: the file's tensors under `own_names`; gives the sizes, its weights are not loaded. Raises KeyError for
        a missing key."""
        super().__init__()
        self.image_proj = _encoder(below(_ENCODER, state), ops=ops, **factory)
        self.width = self.image_proj.width

    @property
    def reads_photos_together(self) -> bool:
        """Whether any number of photos makes the same number of tokens."""
        return isinstance(self.image_proj, IDFormer)

    def tokens(self, ids: Tensor, states: Sequence[Tensor]) -> Tensor:
        """The tokens of all photos of a person, (1, T, width). ids: (photos, id_width). states: (photos, 1 + patches,
        state_width) each."""
        return self.image_proj.tokens(ids, states)

    def no_face_tokens(self, ids: Tensor, states: Sequence[Tensor]) -> Tensor:
        """What the negative side reads instead of `tokens`: as many tokens, which the encoder makes of zeros.

        As the authors do it, version 1 is given zeros for every photo, and the others for one photo. ids, states: as in
        tokens; only their shapes are used.
        """
        photos = slice(None, 1) if self.reads_photos_together else slice(None)
        return self.tokens(torch.zeros_like(ids[photos]), [torch.zeros_like(state[photos]) for state in states])

    def _tried_tokens(self, zeros: Callable[..., Tensor]) -> Tensor:
        """The tokens of one photo of zeros, on which `try_out` of the subclasses tries their own layers."""
        # Two tokens: the class token, and one patch.
        states = [zeros(1, 2, self.image_proj.state_width) for _ in range(STATES)]
        return self.tokens(zeros(1, self.image_proj.id_width), states)


# SDXL


class PuLIDNet(EncoderNet):
    """A file for SDXL: its encoder, and keys and values for each cross-attention layer."""

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__(state, ops=ops, **factory)
        self.ip_adapter = AdapterLayers(below(_LAYERS, state), ops=ops, **factory)

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        self.ip_adapter.keys_and_values(self._tried_tokens(zeros))


def with_fidelity(layer: TextRead, keys: Tensor, values: Tensor, weights: Tensor | None) -> Tensor:
    """What people add to a layer: what is read of them, less of its part along the text. ORTHO_v2 of the authors.

    The more a pixel looks at the face, the more of this part stays. The arguments are those of PeopleRead. The part
    along the text needs sums over all pixels of the picture. So each person is read in the whole picture as if they
    were alone, and only the result is limited to their region.
    """
    return _each_apart(layer, keys, values, weights, _without_text_beside_the_face)


def with_style(layer: TextRead, keys: Tensor, values: Tensor, weights: Tensor | None) -> Tensor:
    """What people add to a layer: what is read of them without the part along the text. ORTHO of the authors.

    The arguments are those of PeopleRead. Each person is read in the whole picture, as in with_fidelity.
    """
    return _each_apart(layer, keys, values, weights, _without_text)


PROJECTIONS: dict[str, PeopleRead] = {"fidelity": with_fidelity, "style": with_style, "off": beside_text}
"""The choices of a node -> how people are read."""


def _each_apart(
    layer: TextRead,
    keys: Tensor,
    values: Tensor,
    weights: Tensor | None,
    keep: Callable[[TextRead, Tensor, Tensor], Tensor],
) -> Tensor:
    """The sum of what each person adds, times their weights: (B, N, C).

    keys, values: (people, B, T, C). weights: (people, B, N, 1), or None for 1. keep: called for each person as
    keep(layer, read, key); read: what is read of the person, (B, N, C); key: the person's keys, (B, T, C). It gives
    what stays of `read`, in float32.
    """
    total = torch.zeros_like(layer.text)
    for person, (key, value) in enumerate(zip(keys, values, strict=True)):
        read = layer.attend(layer.query, key, value)  # (B, N, C)
        added = keep(layer, read, key).to(read)
        total = total + (added if weights is None else weights[person] * added)
    return total


def _along_text(layer: TextRead, read: Tensor) -> Tensor:
    """The projection of what is read of a person onto what is read of the text: (B, N, C) float32.

    Of each channel both are vectors over all N pixels.
    """
    text = layer.text.float()
    square = text.square().sum(dim=1, keepdim=True)  # (B, 1, C)
    dot = (text * read.float()).sum(dim=1, keepdim=True)  # (B, 1, C)
    # A channel in which the text gives nothing has no part along it; the clamp keeps its 0 / 0 from being computed.
    return torch.where(square > 0, dot / square.clamp(min=torch.finfo(square.dtype).tiny), 0.0) * text


def _without_text(layer: TextRead, read: Tensor, key: Tensor) -> Tensor:
    """The `keep` of with_style, see `_each_apart`. It asks nothing of the keys."""
    return read.float() - _along_text(layer, read)


def _without_text_beside_the_face(layer: TextRead, read: Tensor, key: Tensor) -> Tensor:
    """The `keep` of with_fidelity, see `_each_apart`."""
    at_the_face = face_share(layer.query, key, layer.heads)  # (B, N, 1)
    return read.float() - (1 - at_the_face) * _along_text(layer, read)


def face_share(query: Tensor, key: Tensor, heads: int) -> Tensor:
    """How much each pixel looks at the tokens of the face embedding, of all tokens of the person: (B, N, 1).

    query: (B, N, C). key: (B, T, C). It is the mean of all heads, of logits that the authors do not divide by the
    square root of a head's width.
    """
    queries = query.float().unflatten(-1, (heads, -1)).transpose(1, 2)  # (B, heads, N, head width)
    keys = key.float().unflatten(-1, (heads, -1)).transpose(1, 2)  # (B, heads, T, head width)
    shares = (queries @ keys.mT).softmax(dim=-1).mean(dim=1)  # (B, N, T)
    return shares[..., :_FIRST_TOKENS].sum(dim=-1, keepdim=True)


# FLUX.1


class PuLIDFluxNet(EncoderNet):
    """A file for FLUX.1: its encoder, and the attentions behind blocks. block_width: of a token of the
    picture."""

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__(state, ops=ops, **factory)
        inner, self.block_width = state[f"{_BLOCKS}0.to_q.weight"].shape
        self.pulid_ca = nn.ModuleList()
        numbers = {key.split(".")[1] for key in state if key.startswith(_BLOCKS)}  # "0", "1" and so on
        for _ in numbers:
            self.pulid_ca.append(
                BlockAttention(self.block_width, self.width, inner, _BLOCK_HEAD_DIM, ops=ops, **factory)
            )

    def block_tokens(self, tokens: Tensor) -> list[BlockTokens]:
        """People as the picture reads them behind blocks, for each attention of the file. tokens: (people, T,
        width)."""
        by_attention: list[BlockTokens] = []
        for attention in self.pulid_ca:
            assert isinstance(attention, BlockAttention)
            by_attention.append(attention.read_by_picture(tokens))
        return by_attention

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        for block_tokens in self.block_tokens(self._tried_tokens(zeros)):
            read_tokens(zeros(1, self.block_width), *[of_people[0] for of_people in block_tokens])


def reads_behind(double_blocks: int, single_blocks: int) -> list[bool]:
    """For each block of a FLUX.1 whether the picture reads people behind it: the double blocks, then the single
    ones."""
    double = [number % _DOUBLE_INTERVAL == 0 for number in range(double_blocks)]
    single = [number % _SINGLE_INTERVAL == 0 for number in range(single_blocks)]
    return [*double, *single]


# What the encoders read


def id_vectors(embeddings: Tensor, seen: Tensor) -> Tensor:
    """The id vectors of photos, (photos, 1280).

    embeddings: of the face, (photos, 512) as the recogniser gives them. seen: EVA-CLIP's embeddings, (photos, 768),
    which are brought to a length of 1.
    """
    return torch.cat([embeddings, seen / seen.norm(dim=-1, keepdim=True)], dim=-1)
