"""The attention that a model's file asks for, in the parts of its network that it names (ComfyUI 0.38 and newer).

The host asks a function around attention first, and then forgets what the file asks for. Here ours can find it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from comfy.ldm.modules import attention
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ...core.attention.cross_attention import Attend, Block
from ..host import notes
from ..host.shared_network import model_of, network_within
from ..host.unet import Options, transformers
from ..sampling.canvas_check import canvas_sizes
from ..sampling.model_conds import Carried
from .patched_methods import PatchedMethod, WithOption

Attention = Callable[..., Tensor]
"""(q, k, v, heads, mask=None, ...) -> what comes out, as the host's optimized_attention."""
_ASKED_FOR = "likeness_attention_of_file"
"""The key of that attention, among transformer_options inside of a part of the network that the file names."""
_OF_OTHERS = "optimized_attention_override"
"""The key of another pack's function around attention, beside which the host forgets what the file asks for."""
TOPIC = "attention"
"""The topic of the note that another attention takes its place."""
REPLACED = (
    "the file of this MODEL asks for an attention that cannot be divided among people. In the layers where it is "
    "divided, ComfyUI's usual attention computes instead: slower, and rounded differently."
)


def asked_for_in(options: Options) -> Attention | None:
    """The attention that the model's file asks for where these transformer_options are given; None where for none."""
    return options.get(_ASKED_FOR)


def for_some_tokens(attend: Attention, options: Options) -> Attention:
    """What computes a part of an attention: some of its queries and keys. attend: what computes the whole."""
    if attend is asked_for_in(options) and not _takes_any_tokens(attend):
        return attention.optimized_attention
    return attend


def attend_with(options: Options, kernel: Attention | None = None, mask: Tensor | None = None) -> Attend:
    """A function (q, k, v) -> attention of any tokens, as the host calls it in the UNet's layer with these
    extra_options.

    kernel: one of the host's attention functions; None for the one that the host has chosen. What the model's file asks
    for comes first where it takes any tokens. mask: added to the logits.
    """
    own = asked_for_in(options)
    if own is not None and _takes_any_tokens(own):
        return _as_host_calls(own, options, mask)
    return _as_host_calls(kernel, options, mask)


def attend_whole_with(options: Options) -> Attend:
    """A function (q, k, v) -> attention of all queries and keys that the UNet's layer itself has, undivided.

    So what the model's file asks for comes first in any case. options: the layer's extra_options.
    """
    return _as_host_calls(asked_for_in(options), options, None)


def _as_host_calls(function: Attention | None, options: Options, mask: Tensor | None) -> Attend:
    """A function (q, k, v) -> what `function` gives with the arguments of the host; None: the host's own choice."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        # Looked up when called: the host's choice is a name of its module.
        attend_in_layer = function or attention.optimized_attention
        heads, precision = options["n_heads"], options["attn_precision"]
        return attend_in_layer(q, k, v, heads, mask=mask, attn_precision=precision, transformer_options=options)

    return attend


def _takes_any_tokens(function: Attention) -> bool:
    """Whether an attention of the host can compute any queries with any keys. One that picks blocks of keys by their
    order cannot. Those that the host registers take each other's place."""
    return function in attention.REGISTERED_ATTENTION_FUNCTIONS.values()


def _asked_for_in_parts(network: nn.Module) -> dict[nn.Module, Attention]:
    """What its file asks for in the parts of a network; parts for which it asks nothing are missing."""
    found: dict[nn.Module, Attention] = {}
    for part in network.modules():
        function = _asked_for_by(part)
        if function is not None:
            found[part] = function
    return found


def _asked_for_by(part: nn.Module) -> Attention | None:
    """What its file asks for in a part of a network, which the host keeps as comfy_attention.function."""
    return getattr(getattr(part, "comfy_attention", None), "function", None)


def asked_for_in_layers(unet: Any, kind: str) -> dict[Block, Attention]:
    """What its file asks for in the layers of a UNet; layers for which it asks nothing are missing.

    kind: attn1 or attn2.
    """
    found: dict[Block, Attention] = {}
    for name, number, index, transformer in transformers(unet):
        function = _asked_for_by(getattr(transformer, kind))
        if function is not None:
            found[name, number, index] = function
    return found


def with_asked_for(options: Options, function: Attention | None) -> Options:
    """The extra_options of a UNet's layer, in which its attention finds what the file asks for there."""
    if function is None or _OF_OTHERS in options:
        return options
    return {**options, _ASKED_FOR: function}


def patched_file_attention(network: nn.Module) -> list[PatchedMethod]:
    """PatchedMethods by which an attention knows what the model's file asks for there."""
    by_function: dict[Attention, WithOption] = {}  # one for all blocks, which torch.compile then takes for the same
    patched: list[PatchedMethod] = []
    for part, function in _asked_for_in_parts(network).items():
        with_function = by_function.setdefault(function, WithOption(_ASKED_FOR, function))
        patched.append(PatchedMethod(part, "forward", with_function.call_module))
    return patched


def tell_of_file_attention(model: ModelPatcher, carried: Sequence[Carried], kind: str = "") -> None:
    """Write a note under the nodes that divide an attention whose place another one has to take for that.

    carried: all that the run's conditioning carries of these nodes. kind: of a UNet's attentions, attn1 or attn2.
    """
    network: Any = network_within(model_of(model).diffusion_model)
    asked_for = asked_for_in_layers(network, kind) if kind else _asked_for_in_parts(network)
    is_replaced = not all(_takes_any_tokens(function) for function in asked_for.values())
    for canvas_node in canvas_sizes(carried):
        text = f"{canvas_node.node_name}: {REPLACED}" if is_replaced else ""
        notes.tell_of_run(canvas_node.node_id, TOPIC, text)
