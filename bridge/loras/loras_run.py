"""One sampling run with LoRAs of single people: the hooks in its networks, and what LoRAs add to their layers."""

from __future__ import annotations

from comfy.samplers import CFGGuider
from torch import Tensor, nn

from ...core.checks.errors import BadSetup
from ..host.unet import NETWORK, WEIGHT, layer_shape, patched_shape
from ..sampling.forward import ForwardShape
from ..sampling.runs import Run
from .layer_hooks import LayerHooks
from .people_layers import PeopleLayer, PersonLoras


class LorasRun(Run[PersonLoras]):
    """One sampling run of a MODEL with people's LoRAs. It may sample with several networks, see unet_loras.py."""

    key = PersonLoras.key

    def __init__(self, guider: CFGGuider, latent: Tensor) -> None:
        super().__init__(guider, latent)
        self._model = guider.model_patcher
        self._hooks: dict[nn.Module, LayerHooks] = {}  # by network
        self._layers: dict[tuple[object, nn.Module], dict[str, PeopleLayer]] = {}  # by source of a node, and network

    def hooks_in(self, network: nn.Module) -> LayerHooks:
        """The hooks for the layers of a network. They know its modules as Arrival.modules_in has them."""
        if network not in self._hooks:
            self._hooks[network] = LayerHooks(self.arrival.modules_in(network))
        return self._hooks[network]

    def layers_of(self, loras: PersonLoras, network: nn.Module, forward_shape: ForwardShape) -> dict[str, PeopleLayer]:
        """What one node adds to the layers of a network, by name: made once in a run, on the device.

        All PersonLoras of a node have the same source, also those of single rows and of areas, so they share one set.
        Raises BadSetup where the MODEL lacks one of these layers, or has it with fewer inputs or outputs than a LoRA
        changes.
        """
        key = loras.source, network
        if key not in self._layers:
            self._layers[key] = self._new_layers(loras, network, forward_shape.empty_like_network())
        return self._layers[key]

    def _new_layers(self, loras: PersonLoras, network: nn.Module, like: Tensor) -> dict[str, PeopleLayer]:
        """What `layers_of` keeps. like: on the device and in the dtype of what layers are given."""
        modules = self.hooks_in(network).modules
        layers: dict[str, PeopleLayer] = {}
        for name, layer_loras in loras.layers.items():
            module = modules.get(name)
            # layer_shape of the module and not own_shape of the MODEL: in a forward another pack's block may stand in
            # the MODEL in the place of the layer's.
            shape = patched_shape(self._model, f"{NETWORK}{name}{WEIGHT}", layer_shape(module) or ())
            if not shape or any(not layer_lora.fits_in(shape) for layer_lora in layer_loras):
                odd = f"a smaller layer {name}" if module else f"no layer {name}"
                raise BadSetup(
                    f"The MODEL that is sampled has {odd}, other than the MODEL of LoRA per Person.",
                    "Connect model_out of LoRA per Person to the sampler.",
                )
            layers[name] = PeopleLayer(layer_loras, module, like, shape)
        return layers

    def after_run(self) -> None:
        """Take out the hooks that other packs have put back since."""
        for hooks in self._hooks.values():
            hooks.clear()
