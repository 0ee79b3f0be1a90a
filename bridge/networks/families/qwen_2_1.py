"""How Qwen-Image 2.1 is given reference pictures. Its network is not described: nothing in it is split.

All of the picture reads all references, as the host gives them, and nobody is bound to a place. Its text has a causal
prefix of its own for each set of references, spliced at places that the encoder gives: a person's words or references
would change where all tokens behind them stand.
"""

from ..transformer_families import ReferencePictures

REFERENCES = ReferencePictures(
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
    empty_text=" ",
    most={"Qwen-Image 2.1": 10},
)
