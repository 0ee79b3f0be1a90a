"""The attention that a model's file asks for, in the parts of its network that it names (ComfyUI 0.38 and newer).

The host asks a function around attention first, and then forgets what the file asks for. Here ours can find it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from comfy.ldm.modules import attention
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ..host import notes
from ..host.shared_network import model_of, network_within
from ..host.unet import Options
from ..sampling.canvas_check import canvas_sizes
from ..sampling.model_conds import Carried
from .stand_ins import StandIn, WithOption

Attention = Callable[..., Tensor]
"""(q, k, v, heads, mask=None, ...) -> what comes out, as the host's optimized_attention."""
_ASKED_FOR = "likeness_attention_of_file"
"""The key of that attention, among transformer_options inside of a part of the network that the file names."""
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


def _takes_any_tokens(function: Attention) -> bool:
    """Whether an attention of the host can compute any queries with any keys. One that picks blocks of keys by their
    order cannot. Those that the host registers take each other's place."""
    return function in attention.REGISTERED_ATTENTION_FUNCTIONS.values()


def _asked_for_in(network: nn.Module) -> list[tuple[nn.Module, Attention]]:
    """The parts of a network for which its file asks for an attention, with that."""
    found: list[tuple[nn.Module, Attention]] = []
    for part in network.modules():
        function: Attention | None = getattr(getattr(part, "comfy_attention", None), "function", None)
        if function is not None:
            found.append((part, function))
    return found


def file_attention_stand_ins(network: nn.Module) -> list[StandIn]:
    """StandIns by which an attention knows what the model's file asks for there."""
    by_function: dict[Attention, WithOption] = {}  # one for all blocks, which torch.compile then takes for the same
    stand_ins: list[StandIn] = []
    for part, function in _asked_for_in(network):
        with_function = by_function.setdefault(function, WithOption(_ASKED_FOR, function))
        stand_ins.append(StandIn(part, "forward", with_function.call_module))
    return stand_ins


def tell_of_file_attention(model: ModelPatcher, carried: Sequence[Carried]) -> None:
    """Write a note under the nodes that divide an attention whose place another one has to take for that.

    carried: all that the run's conditioning carries.
    """
    network: Any = network_within(model_of(model).diffusion_model)
    is_replaced = not all(_takes_any_tokens(function) for _, function in _asked_for_in(network))
    for canvas in canvas_sizes(carried):
        text = f"{canvas.node_name}: {REPLACED}" if is_replaced else ""
        notes.tell_of_run(canvas.node_id, TOPIC, text)
