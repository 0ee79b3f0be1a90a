"""Krea 2, as the host has it."""

from dataclasses import replace

from ....core import families
from ..transformer_families import POST_INPUT, HostNetwork, LayerStream, ReferencePictures, Stream, TransformerFamily

# As the LoRA Identity Edit was trained. Without a LoRA for references the network does nothing with them.
_IDENTITY_EDIT = ReferencePictures(
    model="Krea 2",
    text_encoder="qwen3vl_4b with krea2",
    tokenizers={"Krea2Tokenizer": ""},
    vae="qwen_image_vae",
    latent=(16, 1),
    sees=True,
    mark="{picture}",
    plain_template=True,
    fitted=True,
    longest_shown=768,
    trained_sizes=(384, 768),
    method="index",
    most={"Krea 2": 2},
    pictures_first=True,
)
# As ai-toolkit of ostris trains LoRAs for editing (krea2:o_edit).
_OSTRIS_EDIT = replace(
    _IDENTITY_EDIT,
    word="Picture {}",
    mark="{name}: {picture}",
    fitted=False,
    only_smaller=True,
    step=16,
    longest_shown=0,
    trained_sizes=None,
    method="index_timestep_zero",
    most={"Krea 2": 3},
    pictures_first=False,
)
TRANSFORMER = TransformerFamily(
    name=families.KREA_2.name,
    made=HostNetwork(
        network="comfy.ldm.krea2.model.SingleStreamDiT",
        model="Krea2",
        image_model="krea2",
        latent=(families.KREA_2.latent, 3),
        sizes="features tdim txtdim heads kvheads multiplier layers patch channels theta txtlayers txtheads txtkvheads "
        "default_ref_method",
    ),
    blocks=("blocks",),
    telling_block=10,
    text_layers=("txtfusion.projector", "txtmlp.1"),  # a text holds what several layers of its encoder give
    code=("context = self.txtfusion(context, mask=None", POST_INPUT, "reference_image_num_tokens"),
    picture_layer="first",
    patch="patch",
    refiners="txtfusion.refiner_blocks",
    streams=(
        LayerStream(r"first", Stream.PICTURE),
        LayerStream(r"txtfusion\.layerwise_blocks\.\d+\.(attn|mlp)\.\w+|txtfusion\.projector", Stream.TEXT_AS_ROWS),
        LayerStream(r"txtfusion\.refiner_blocks\.\d+\.(attn|mlp)\.\w+|txtmlp\.\d+", Stream.TEXT),
        LayerStream(r"blocks\.\d+\.(attn|mlp)\.\w+|last\.linear", Stream.BOTH),
        LayerStream(r"tproj\.1", Stream.BOTH, modulates=True),
    ),
    references=_IDENTITY_EDIT,
    other_trainings={
        "ostris edit": _OSTRIS_EDIT,
        "ostris edit, isolated": replace(_OSTRIS_EDIT, isolated=True),
        # As some LoRAs that go on from Identity Edit, with a label before each picture and a space behind it.
        "own, Image N labels": replace(_IDENTITY_EDIT, word="Image {}", mark="{name}: {picture} "),
    },
)
