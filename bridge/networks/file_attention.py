"""The attention that a model's file asks for, in the parts of its network that it names (ComfyUI 0.38 and newer).

The host asks a function around attention first, and then forgets what the file asks for. Here ours can find it.
"""

from collections.abc import Callable
from typing import Any

from comfy.ldm.modules import attention
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ...core.attention.cross_attention import Attend, Block
from ..host import notes
from ..host.shared_network import model_of, network_within
from ..host.unet import Options, transformers
from ..sampling.carried import Carried
from ..sampling.node_of_run import NodeOfRun
from ..sampling.rows_of_others import copied
from ..sampling.runs import Run
from .patched_methods import PatchedMethod, WithOption

Attention = Callable[..., Tensor]
"""(q, k, v, heads, mask=None, ...) -> what comes out, as the host's optimized_attention."""
_OF_FILE = "likeness_attention_of_file"
"""The key of that attention, among transformer_options inside of a part of the network that the file names."""
OVERRIDE = "optimized_attention_override"
"""The key of a function around attention, beside which the host forgets what the file asks for."""
TOPIC = "attention"
"""The topic of the note that another attention takes its place."""
REPLACED = (
    "the file of this MODEL asks for an attention that cannot be divided among people. In the layers where it is "
    "divided, ComfyUI's usual attention computes instead: slower, and rounded differently."
)


def attention_of_file(options: Options) -> Attention | None:
    """The attention that the model's file asks for where these transformer_options are given; None where for none."""
    return options.get(_OF_FILE)


def for_some_tokens(attend: Attention, options: Options) -> Attention:
    """The function that computes some queries and keys of an attention, where `attend` computes all of them.

    It is `attend` too, except where the model's file asks for an attention that cannot be divided: then it is the
    host's own.
    """
    if attend is attention_of_file(options) and not _takes_any_tokens(attend):
        return attention.optimized_attention
    return attend


def attend_with(options: Options, kernel: Attention | None = None, mask: Tensor | None = None) -> Attend:
    """A function (q, k, v) -> attention of any tokens, as the host calls it in one layer of the UNet.

    It is the attention that the model's file asks for, if that one takes any tokens, and else `kernel`.

    options: the layer's extra_options. kernel: one of the host's attention functions; None for the host's own choice.
    mask: added to the logits.
    """
    of_file = attention_of_file(options)
    if of_file is not None and _takes_any_tokens(of_file):
        return _as_host_calls(of_file, options, mask)
    return _as_host_calls(kernel, options, mask)


def attend_whole_with(options: Options) -> Attend:
    """A function (q, k, v) -> attention of all queries and keys of one layer of the UNet, undivided.

    It is the attention that the model's file asks for, even one that cannot be divided, and else the host's choice.
    options: the layer's extra_options.
    """
    return _as_host_calls(attention_of_file(options), options, mask=None)


def _as_host_calls(function: Attention | None, options: Options, mask: Tensor | None) -> Attend:
    """A function (q, k, v) -> what `function` gives, called with the arguments that the host gives in a layer.

    function: None for the attention that the host has chosen.
    """

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        # Looked up when called: the host's choice is a name of its module.
        attend_in_layer = function or attention.optimized_attention
        heads, precision = options["n_heads"], options["attn_precision"]
        own_mask = mask
        if options.get(OVERRIDE) is not None:  # another pack's function around attention
            q, k, v = copied(q, k, v)
            own_mask = None if mask is None else mask.clone()
        return attend_in_layer(q, k, v, heads, mask=own_mask, attn_precision=precision, transformer_options=options)

    return attend


def _takes_any_tokens(function: Attention) -> bool:
    """Whether an attention can compute any queries with any keys: those in the host's register can.

    Any other is taken for one that cannot, such as one that picks blocks of keys by their order.
    """
    return function in attention.REGISTERED_ATTENTION_FUNCTIONS.values()


def _attention_of_file_in_parts(network: nn.Module) -> dict[nn.Module, Attention]:
    """What a network's file asks for in its parts, by part; parts for which it asks nothing are missing."""
    functions: dict[nn.Module, Attention] = {}
    for part in network.modules():
        function = _attention_of_part(part)
        if function is not None:
            functions[part] = function
    return functions


def _attention_of_part(part: nn.Module) -> Attention | None:
    """What the model's file asks for in one part of its network, None for nothing. The host keeps it as the part's
    comfy_attention.function."""
    return getattr(getattr(part, "comfy_attention", None), "function", None)


def attention_of_file_in_layers(unet: Any, kind: str) -> dict[Block, Attention]:
    """What a UNet's file asks for in its layers, by layer; layers for which it asks nothing are missing.

    kind: attn1 or attn2.
    """
    functions: dict[Block, Attention] = {}
    for name, number, index, transformer in transformers(unet):
        function = _attention_of_part(getattr(transformer, kind))
        if function is not None:
            functions[name, number, index] = function
    return functions


def with_attention_of_file(options: Options, function: Attention | None) -> Options:
    """A UNet layer's extra_options with the attention that the file asks for there, where `attention_of_file` finds it.

    They are unchanged where the file asks for none (function is None), and where another pack has put a function around
    attention: beside that function the host would not call the file's attention either.
    """
    if function is None or OVERRIDE in options:
        return options
    return {**options, _OF_FILE: function}


def patched_file_attention(network: nn.Module) -> list[PatchedMethod]:
    """PatchedMethods, one for each part of a network in which the model's file asks for an attention.

    Each puts that attention into the transformer_options of its part, where `attention_of_file` finds it.
    """
    # One WithOption for all blocks with the same function: torch.compile then takes the blocks for the same.
    by_function: dict[Attention, WithOption] = {}
    patched: list[PatchedMethod] = []
    for part, function in _attention_of_file_in_parts(network).items():
        with_function = by_function.setdefault(function, WithOption(_OF_FILE, function))
        patched.append(PatchedMethod(part, "forward", with_function.call_module))
    return patched


def tell_of_file_attention(run: Run, carried: Carried, kind: str = "") -> None:
    """Write the note REPLACED under a node that divides attention, if the model's file asks for an undividable one.

    Otherwise write an empty note, which takes away that of an earlier run. Once in a run for each node.

    carried: what the node has put in. kind: of a UNet's attentions, attn1 or attn2; "" for a transformer.
    """
    if carried.canvas is not None:
        node = carried.canvas.node
        run.kept((TOPIC, node), lambda: _tell(node, is_replaced=_is_replaced(run.model, kind)))


def _tell(node: NodeOfRun, *, is_replaced: bool) -> None:
    notes.tell_of_run(node.node_id, TOPIC, f"{node.node_name}: {REPLACED}" if is_replaced else "")


def _is_replaced(model: ModelPatcher, kind: str) -> bool:
    """Whether the model's file asks for an attention that cannot be divided. kind: as above."""
    network: Any = network_within(model_of(model).diffusion_model)
    attention_of_file = attention_of_file_in_layers(network, kind) if kind else _attention_of_file_in_parts(network)
    return not all(_takes_any_tokens(function) for function in attention_of_file.values())
