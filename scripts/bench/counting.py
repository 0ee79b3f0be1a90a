"""Operations, kernels, bytes that these read and write, and bytes alive at once."""

import weakref
from math import prod
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry, sdpa_flop_count

_NO_KERNELS = {"_unsafe_view", "empty", "empty_like", "empty_strided", "is_same_size", "new_empty", "new_empty_strided"}
"""Operators that are no views and launch nothing."""
_OVERWRITES = {"copy_", "fill_", "zero_"}
"""Operators that write into their first argument without reading it."""


def counting() -> FlopCounterMode:
    """Of matrix products, convolutions and attention; torch's own does not know the attention of a CPU, nor products
    that are added in place."""

    def attention(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
        return sdpa_flop_count(q, k, v)

    def added_product(_: Any, first: Any, second: Any, **__: Any) -> int:
        """Of shapes (..., m, k) and (..., k, n)."""
        return 2 * prod(first) * second[-1]

    aten = torch.ops.aten
    formulas = {
        aten._scaled_dot_product_flash_attention_for_cpu: attention,
        aten.addmm_: added_product,
        aten.baddbmm_: added_product,
    }
    return FlopCounterMode(display=False, custom_mapping=formulas)


class ShapesAlone(TorchDispatchMode):
    """Raises AssertionError where a product, convolution or attention of a step runs on numbers while this is entered:
    on a processor, at the size of a card's networks, it takes minutes. The small ones of what is made before a step,
    such as keys of parts, may."""

    MOST = 1e9
    """Operations; the smallest step that is counted has 800 times as many."""

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        operations = flop_registry.get(func.overloadpacket)
        has_numbers = not any(isinstance(leaf, FakeTensor) for leaf in tree_leaves(out))
        if operations and has_numbers and operations(*args, **kwargs, out_val=out) > self.MOST:
            shapes = [tuple(leaf.shape) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
            raise AssertionError(f"{func} of {shapes} ran on numbers. Let its network run in shapes, as in unets.py.")
        return out


class LiveBytes(TorchDispatchMode):
    """Follows the storage of every tensor made on a device while this is entered, until it is freed.

    live: bytes now. peak: the most of them since `peak` was last set. older: those of `live` that were there before,
    such as a prompt, and are seen by a view of them. kernels: how many operators have run that are no views, each of
    which a card has to launch. moved: bytes that these have read and written, every argument and every result once.
    What a kernel takes for itself (workspaces of convolutions, pieces of fused attention) and what the allocator rounds
    up is not seen.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.live = self.peak = self.kernels = self.moved = self.older = 0
        self._device = device
        self._followed = weakref.WeakSet[Any]()

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if func.namespace == "aten" and not func.is_view and name not in _NO_KERNELS:
            self.kernels += 1
            read = args[1:] if name in _OVERWRITES else args
            self.moved += sum(
                leaf.nbytes for leaf in tree_leaves((read, kwargs, out)) if isinstance(leaf, torch.Tensor)
            )
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and leaf.device.type == self._device:
                self._follow(leaf.untyped_storage(), func.is_view)
        return out

    def _follow(self, storage: Any, was_there: bool) -> None:
        if storage in self._followed:
            return
        self._followed.add(storage)
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        self.older += size * was_there
        weakref.finalize(storage, self._freed, size, size * was_there)

    def _freed(self, size: int, older: int) -> None:
        self.live -= size
        self.older -= older
