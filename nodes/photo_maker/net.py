"""PhotoMaker: a person's photos become tokens that are fused with the class word (man, woman) in the text.

Source: "PhotoMaker: Customizing Realistic Human Photos via Stacked ID Embedding" (arXiv 2312.04461) and its released
photomaker/model.py and model_v2.py (Apache-2.0). Module and parameter names are those of the authors' files but for
v2's projection, which has those of FaceID Plus here; every size is read from the tensors.

Class words are laid out by the text encoder's own tokens, as in the released photomaker/pipeline.py: the trigger is
taken out, and the last token of the word before it stands as often as there are tokens to fuse with. Unlike there,
there may be several people, and as many chunks of the text encoder as the prompt needs.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...core.errors import BadCast, LikenessError, counted, listed
from ...core.models.tensors import State, below
from ...core.people import EMBEDDING
from ...core.projections import FacePlusProjection

HEAD_DIM = 128
"""Of v2's perceiver, fixed in the published file."""


def _mlp(state: State, ops: Any, **factory: Any) -> nn.Sequential:
    """Norm, then two linear layers."""
    (inside, width), out = state["fc1.weight"].shape, state["fc2.weight"].shape[0]
    first, last = ops.Linear(width, inside, **factory), ops.Linear(inside, out, **factory)
    layers = {"layernorm": ops.LayerNorm(width, **factory), "fc1": first, "act_fn": nn.GELU(), "fc2": last}
    return nn.Sequential(OrderedDict(layers))


class Fuse(nn.Module):
    """A class word and what the photos say of the person, in one token."""

    def __init__(self, state: State, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.mlp1, self.mlp2 = (_mlp(below(f"{name}.", state), ops, **factory) for name in ("mlp1", "mlp2"))
        self.layer_norm = ops.LayerNorm(len(state["layer_norm.weight"]), **factory)

    def forward(self, words: Tensor, tokens: Tensor) -> Tensor:
        """Twice (n, width), as the text encoders and `PhotoMakerNet.tokens` give them -> (n, width)."""
        fused = self.mlp1(torch.cat([words, tokens], dim=-1)) + words
        return self.layer_norm(self.mlp2(fused) + fused)


class PhotoMakerNet(nn.Module):
    """The ID encoder of v1, or of v2 where the file has its perceiver.

    vision: makes the CLIP vision transformer, which returns (last states, ..., pooled).
    """

    def __init__(self, state: State, vision: Any, *, ops: Any, **factory: Any) -> None:
        super().__init__()
        self.vision_model = vision(below("vision_model.", state), ops=ops, **factory)
        first, second = (state[f"visual_projection{end}.weight"].shape for end in ("", "_2"))
        self.visual_projection = ops.Linear(first[1], first[0], bias=False, **factory)
        self.visual_projection_2 = ops.Linear(second[1], second[0], bias=False, **factory)
        self.fuse_module = Fuse(below("fuse_module.", state), ops=ops, **factory)
        v2 = below("qformer_perceiver.", state)
        self.qformer_perceiver = FacePlusProjection(v2, ops=ops, head_dim=HEAD_DIM, **factory) if v2 else None
        self.width = first[0] + second[0]

    def tokens(self, pixels: Tensor, faces: Tensor | None) -> Tensor:
        """Photos (n, 3, 224, 224) as CLIP normalises them -> (n, 1, width), or of v2 (n, 2, width).

        faces: (n, 512), the embeddings in the same photos, which v2 alone reads.
        """
        seen, *_, pooled = self.vision_model(pixels)
        if self.qformer_perceiver is not None:
            return self.qformer_perceiver(faces, seen)
        return torch.cat([self.visual_projection(pooled), self.visual_projection_2(pooled)], dim=-1)[:, None]

    def try_out(self, zeros: Callable[..., Tensor]) -> None:
        """Raises RuntimeError where sizes do not fit each other."""
        faces = zeros(1, EMBEDDING) if self.qformer_perceiver is not None else None
        tokens = self.tokens(zeros(1, 3, 224, 224), faces).flatten(0, 1)
        self.fuse_module(zeros(tokens.shape), tokens)


Token = tuple[Any, ...]
"""As the host gives it: a number or an embedding, its weight, and 0 or the number of its part of the prompt."""
Prompt = Mapping[str, Sequence[Sequence[Token]]]
"""Per text encoder the chunks that it reads."""
TRIGGER = "img"


class BadTrigger(LikenessError):
    """A prompt whose class words are not those of the people."""

    def __init__(self, why: str, trigger: str, people: Sequence[str]) -> None:
        example = " and ".join([f"a woman {trigger or TRIGGER}"] * max(1, len(people)))
        super().__init__(
            f"{why}. People in the cast: {listed(people, 'no people')}.",
            f"Write for each of them, in their order, what they are (man, woman, girl) and behind it the trigger word, "
            f"such as: photo of {example}.",
        )


def laid_out(
    prompt: Prompt, trigger: Prompt, empty: Prompt, word: str, people: Sequence[str], copies: Sequence[int]
) -> tuple[Prompt, list[int]]:
    """A prompt without its triggers, the class word of each of `people` so often, and where the first copies stand.

    All as the text encoders read them; word: the trigger; empty: a prompt without a word. No word's copies are divided
    between two chunks. Raises BadTrigger unless there is one trigger behind a word for each of them, at the same place
    for every text encoder; BadCast where one chunk cannot hold the copies.
    """
    laid, stand = dict[str, Sequence[Sequence[Token]]](), list[list[int]]()
    for encoder in prompt:
        # Without the tokens that the host puts around and behind them.
        tokens, mark = ([one for chunk in each[encoder] for one in chunk if one[2]] for each in (prompt, trigger))
        # Embeddings of the user's are tensors, which no number equals.
        numbers, wanted = ([one[0] if isinstance(one[0], int) else None for one in each] for each in (tokens, mark))
        length = len(wanted)
        starts = [n for n in range(len(tokens)) if wanted and numbers[n : n + length] == wanted]
        here = [start - 1 - length * before for before, start in enumerate(starts)]
        if len(here) != len(people):
            there = f"the trigger word {word!r} {counted(len(here), 'time')}" if here else f"no trigger word {word!r}"
            raise BadTrigger(f"The text has {there} for {counted(len(people), 'person', 'people')}", word, people)
        if min(here, default=0) < 0 or len({*here}) < len(here):
            raise BadTrigger(f"A trigger word {word!r} of the text has no word of its own before it", word, people)
        left = [one for n, one in enumerate(tokens) if not any(start <= n < start + length for start in starts)]
        laid[encoder], places = _in_chunks(left, dict(zip(here, copies, strict=True)), empty[encoder][0])
        stand.append(places)
    if any(places != stand[0] for places in stand):
        why = "An embedding before a class word has not as many tokens for each of the two text encoders"
        raise BadTrigger(why, word, people)
    return laid, stand[0]


def _in_chunks(
    tokens: Sequence[Token], copies: Mapping[int, int], empty: Sequence[Token]
) -> tuple[list[list[Token]], list[int]]:
    start, end, *_, pad = empty
    room, chunks, places = len(empty) - 2, [list[Token]()], list[int]()
    if (most := max(copies.values(), default=0)) > room:
        why = f"The photos of one person make {most} tokens of the text, which reads {room} at once."
        raise BadCast(why, "Give Person fewer photos of this person; four to eight are plenty.")
    for n, token in enumerate(tokens):
        run = [token] * copies.get(n, 1)
        if len(chunks[-1]) + len(run) > room:
            chunks.append([])
        if n in copies:
            places.append(len(empty) * (len(chunks) - 1) + 1 + len(chunks[-1]))
        chunks[-1] += run
    return [[start, *chunk, end, *[pad] * (room - len(chunk))] for chunk in chunks], places
