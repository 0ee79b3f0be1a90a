"""What a file is, told by its tensors and never by its name: the methods' own formats, then those of others.

A loader asks for one entry; anything else is named for what it is, so that a file in the wrong place explains itself.
What tells a format is data, the `detect` of a record:

    tensors          name -> shape; a name that begins with * is an ending; null is any size, "..." any sizes
    under            beginnings, each of some tensor's name
    absent           names or endings that no tensor has
    other_type_than  [name, ending]: the tensor's numbers are of another kind than those of all others
    any              several of these, of which one is enough
    before           formats of which this is a special kind: it is asked for first
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import UnsupportedCheckpoint, counted
from ..families import FLUX, of_text
from ..methods import Format, methods
from .files import Stamp, no_model, stamp
from .tensors import NotTensors, State, described_tensors

CONTROLNET = "controlnet"
IR_SE50_KEY = "body.23.res_layer.5.fc1.weight"
"""Squeezing and excitation in the last of its 24 blocks: recognisers of this kind with more blocks have none."""
_OTHERS = Path(__file__).with_name("other_files.json")


def detected(detect: Mapping[str, Any], state: State) -> bool:
    """Whether these tensors are of a format: by keys, shapes and kinds of numbers only."""
    return (
        all(any(_fits(one, shape) for one in _named(name, state)) for name, shape in detect.get("tensors", {}).items())
        and all(any(key.startswith(beginning) for key in state) for beginning in detect.get("under", ()))
        and not any(True for name in detect.get("absent", ()) for _ in _named(name, state))
        and all(
            state[name].dtype not in {tensor.dtype for tensor in _named(ending, state)}
            for name, ending in filter(None, [detect.get("other_type_than")])
        )
        and ("any" not in detect or any(detected(one, state) for one in detect["any"]))
    )


def _named(name: str, state: State) -> Iterator[Tensor]:
    """The tensors of this name, or with this ending."""
    if not name.startswith("*"):
        return iter([state[name]] if name in state else ())
    return (tensor for key, tensor in state.items() if key.endswith(name[1:]))


def _fits(tensor: Tensor, wanted: Sequence[Any]) -> bool:
    """Whether a tensor has this shape; "..." stands at its beginning or its end."""
    sizes, found = [size for size in wanted if size != "..."], tuple(tensor.shape)
    if "..." in wanted:
        found = found[max(0, len(found) - len(sizes)) :] if wanted[0] == "..." else found[: len(sizes)]
    return len(found) == len(sizes) and all(size in (None, n) for n, size in zip(found, sizes, strict=True))


@cache
def formats() -> tuple[Format, ...]:
    """All, in the order in which they are asked for, special ones before general ones: the first that matches wins."""
    ours = [one for method in methods() for one in method.formats]
    found: list[Format] = []
    for one in [*ours, *(Format(**other) for other in json.loads(_OTHERS.read_bytes()))]:
        general = [n for n, other in enumerate(found) if other.id in one.detect.get("before", ())]
        found.insert(min(general, default=len(found)), one)
    return tuple(found)


def known(identifier: str) -> Format:
    """Raises KeyError."""
    return {one.id: one for one in formats()}[identifier]


def identify(state: State) -> Format | None:
    return next((one for one in formats() if detected(one.detect, state)), None)


def family(state: State) -> str | None:
    """The model family by the width of the text that cross-attention reads, None where there is none; of what has no
    such layers, a ControlNet for FLUX.1 is told."""
    if "controlnet_x_embedder.weight" in state and "context_embedder.weight" in state:
        return FLUX.name
    widths = (tensor.shape[-1] for tensor in _named("*attn2.to_k.weight", state))
    found = of_text(next(widths, 0))
    return found.name if found and found.unet else None


def recognised(path: Path) -> tuple[Format | None, str | None]:
    """What a file is and of which family, None as far as nobody can say: it need not even be readable."""
    try:
        return _recognised(stamp(str(path)))
    except OSError:
        return None, None


@lru_cache(maxsize=1024)
def _recognised(file: Stamp) -> tuple[Format | None, str | None]:
    path = Path(file[0])
    if no_model(path):
        return None, None
    try:
        state = described_tensors(path)
    except NotTensors:
        return None, None
    return identify(state), family(state)


def require(state: State, wanted: str | Sequence[str], path: str, advice: str, title: str | None = None) -> Format:
    """Make sure that `state`, read from `path`, is the format with the id `wanted`, or one of several, and return it.

    title: what all of several are called; that of the first without. Raises UnsupportedCheckpoint saying what the file
    is instead and, with `advice`, where the right one is found.
    """
    ids = (wanted,) if isinstance(wanted, str) else wanted
    found = identify(state)
    if found is None or found.id not in ids:
        keys = sorted(state)
        few = ", ".join([*keys[:3], *["..."] * (len(keys) > 3)])
        unknown = f"{counted(len(keys), 'tensor')}: {few}" if keys else "it holds no tensors"
        name = found.title if found else f"an unknown file ({unknown})"
        expected = title or known(ids[0]).title
        raise UnsupportedCheckpoint(path, name, expected, f"{found.belongs} {advice}" if found else advice)
    return found
