"""Keys and shapes of the parts that several networks share."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def layer(key: str, *shape: int) -> Shapes:
    yield f"{key}.weight", shape
    yield f"{key}.bias", shape[:1]


def under(prefix: str, shapes: Shapes) -> Shapes:
    return ((f"{prefix}.{key}", shape) for key, shape in shapes)


def shapes_of(network: nn.Module) -> Shapes:
    return ((key, tuple(weight.shape)) for key, weight in network.state_dict().items())


def clip_layers(count: int, width: int, inner: int | None = None) -> Shapes:
    """inner: of the feed-forward, 4 times the width where None."""
    inner = inner or 4 * width
    for number in range(count):
        block = f"encoder.layers.{number}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from layer(f"{block}.self_attn.{name}", width, width)
        yield from layer(f"{block}.layer_norm1", width)
        yield from layer(f"{block}.mlp.fc1", inner, width)
        yield from layer(f"{block}.mlp.fc2", width, inner)
        yield from layer(f"{block}.layer_norm2", width)


def clip_vision(count: int, width: int, projection: int, inner: int | None = None) -> Shapes:
    """CLIP's eye in the layout of transformers, for pictures of 224 in patches of 14."""
    model = "vision_model"
    yield "visual_projection.weight", (projection, width)
    yield f"{model}.embeddings.class_embedding", (width,)
    yield f"{model}.embeddings.patch_embedding.weight", (width, 3, 14, 14)
    yield f"{model}.embeddings.position_embedding.weight", (257, width)
    yield from layer(f"{model}.pre_layrnorm", width)
    yield from under(model, clip_layers(count, width, inner))
    yield from layer(f"{model}.post_layernorm", width)
