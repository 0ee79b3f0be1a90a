"""Families of models that are given reference pictures, but whose networks are not described: nothing in them is split.

All of the picture reads all references, as the host gives them, and nobody is bound to a place.
"""

from ..transformer_families import ReferencePictures

OMNIGEN_2 = ReferencePictures(
    model="OmniGen2",
    text_encoder="qwen_2.5_vl with omnigen2",
    tokenizers={"Omnigen2Tokenizer": ""},
    vae="ae",
    latent=(16,),
    network_most=5,
)
BOOGU = ReferencePictures(
    model="Boogu-Image",
    text_encoder="qwen3vl_8b with boogu",
    tokenizers={"BooguTokenizer": ""},
    vae="ae",
    latent=(16,),
    step=16,
    sees=True,
    numbers_pictures=True,
    negative_sees=False,
    network_most=5,
)
# Its text has a causal prefix of its own for each set of references, spliced at places that the encoder gives: a
# person's words or references would change where all tokens behind them stand.
QWEN_2_1 = ReferencePictures(
    model="Qwen-Image 2.1",
    text_encoder="qwen3vl_8b with qwen_image",
    tokenizers={"QwenImage21Tokenizer": ""},
    vae="qwen_image_2.1_vae",
    latent=(64,),
    cell=16,
    step=32,
    scaling="lanczos",
    word="<image{}>",
    sees=True,
    numbers_pictures=True,
    shown_as_encoded=True,
    empty_prompt=" ",
    empty_negative=" ",
    most={"Qwen-Image 2.1": 10},
)
