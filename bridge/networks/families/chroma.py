"""Chroma, as the host has it."""

from ....core import families
from ..transformer_families import HostNetwork, TransformerFamily
from .flux import FLUX_SIZES, FLUX_STREAMS

TRANSFORMER = TransformerFamily(
    name=families.CHROMA.name,
    made=HostNetwork(
        network="comfy.ldm.chroma.model.Chroma",
        model="Chroma",
        image_model="chroma",
        latent=(families.CHROMA.latent, 2),
        sizes=FLUX_SIZES + "in_dim out_dim hidden_dim n_layers",
    ),
    blocks=("double_blocks", "single_blocks"),
    text_layers=("txt_in",),
    code=(
        # Every token of a text has the position 0, so counted_axes is empty.
        "txt_ids = torch.zeros((bs, context.shape[1], 3), device=x.device, dtype=x.dtype)",
        "self.forward_orig(img, img_ids, context, txt_ids, timestep, guidance, control, transformer_options",
    ),
    inputs_method="forward_orig",
    joint_mask=True,
    streams=FLUX_STREAMS,  # without modulation: one layer of the time makes that of all blocks
)
