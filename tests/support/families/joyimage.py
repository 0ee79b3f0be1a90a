"""JoyImage: Qwen3-VL, of which it reads the last layer."""

from functools import partial

from family_encoders import LLAMA, WIDTH, encoder
from pack.bridge.networks import families as described

from .record import FamilyRecord, NameInFiles

RECORD = FamilyRecord(
    described=described.joyimage.TRANSFORMER,
    often=True,
    clip=partial(encoder, "joyimage", "te", "JoyImageTokenizer", qwen3vl_8b={**LLAMA, "num_hidden_layers": 3}),
    reads_clip={"text_dim": WIDTH},
    without_place=r"condition_embedder\.time_",
    of_the_time={"diffusion_model.condition_embedder.time_proj": (384, 64)},
    names=(
        NameInFiles("lora_unet_double_blocks_0_attn_img_attn_qkv", "double_blocks.0.attn.img_attn_qkv", all_kinds=True),
        NameInFiles("diffusion_model.double_blocks.1.txt_mlp.net.2", "double_blocks.1.txt_mlp.net.2"),
        NameInFiles("diffusion_model.double_blocks.0.attn.txt_attn_proj", "double_blocks.0.attn.txt_attn_proj"),
    ),
)
