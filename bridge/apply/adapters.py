"""Adapters of cross-attention: whether their layers fit a MODEL, and the image tokens that people carry."""

from collections.abc import Sequence

from torch import Tensor

from ...core.checks.errors import LikenessError, WrongBaseModel
from ..host import unet
from ..host.load import Loaded, NetT
from ..image_tokens.unet_tokens import UNetImageTokens
from ..sampling.conditioning import SamplerInputs, check_conditioning
from .acting_people import ActingPeople


class AdapterMismatch(LikenessError):
    """An adapter whose layers do not fit the MODEL's cross-attention layers."""


class UNetAdapter(Loaded[NetT]):
    """A loaded file with a layer for each cross-attention layer of a UNet."""

    def check_fits(self, given: SamplerInputs, node_name: str) -> None:
        """Raise an error unless the file fits the texts and the MODEL.

        AdapterMismatch: unless the file has a layer for each cross-attention layer of the MODEL, of the same width.
        WrongBaseModel: for texts of another width than the file's, and for a MODEL that reads texts of another width.
        given: with a MODEL.
        """
        model = given.model
        assert model is not None
        check_conditioning(given.texts, self.width, node_name)
        layer_widths = list(self.net.ip_adapter.widths)
        model_layer_widths = unet.attention_widths(model)
        if layer_widths != model_layer_widths:
            model_name = type(model.model.model_config).__name__
            difference = _first_difference(layer_widths, model_layer_widths)
            advice = (
                "Use a MODEL with the own layout of the file's family (SD1.5 or SDXL, Turbo, Lightning, LCM and their "
                "fine-tunes), or an adapter that was trained for this one."
            )
            raise AdapterMismatch(
                f"This {self.method_title} file has {len(layer_widths)} cross-attention layers and does not fit the "
                f"MODEL ({model_name}, {len(model_layer_widths)} layers): {difference}.",
                unet.advice_on(model, advice),
            )
        text_width = unet.text_width(model)
        if text_width != self.width:
            advice = unet.advice_between(text_width, self.width)
            kind = unet.kind_of(model.model, text_width)
            raise WrongBaseModel(f"The MODEL given to {node_name}", kind, unet.family(self.width), advice)

    def image_tokens(self, acting: ActingPeople, sides: Sequence[Tensor], scales: Tensor) -> list[UNetImageTokens]:
        """What both sides carry, positive and negative: keys and values, float32 on the CPU.

        sides: the tokens of each side, (people, T, width). scales: (people,), what the values of each person are
        multiplied with. Where all scales are 0, the UNetImageTokens have no layers, and the UNet reads nothing.
        """
        source = object()  # the same for both sides: by it a run knows that they are of one node
        scales_of_values = scales[:, None, None]  # (people, 1, 1)
        of_sides: list[UNetImageTokens] = []
        for tokens in sides:
            layers: list[tuple[Tensor, Tensor]] = []  # keys and values (people, T, C) for every layer of the file
            if scales.any():  # else `layers` stays empty: no layer reads anything, see UNetImageTokens.layers
                for keys, values in self.net.ip_adapter.keys_and_values(self.on_device(tokens)):
                    layers.append((keys.cpu(), values.cpu() * scales_of_values))
            of_sides.append(acting.image_tokens(source, tokens, tuple(layers)))
        return of_sides


def _first_difference(widths: Sequence[int], model_widths: Sequence[int]) -> str:
    """The first difference between the layers of a file and those of a MODEL, in words.

    widths: of the file's layers. model_widths: of the MODEL's, of which there may be more or fewer.
    """
    for number, (width, model_width) in enumerate(zip(widths, model_widths, strict=False)):
        if width != model_width:
            return f"layer {number} has another width"
    return "another number of layers"
