"""The toy model: a few megabytes, trained on drawn people, that draw a cartoon group photo as ID-Patch does.

Widened without loss it becomes files of the real shapes with the real keys, which run through the real nodes and the
real host. It shows that everybody gets their own look in their own place; it says nothing about the quality of the
released weights.

    looks.py          what the toy model knows of a person
    recogniser.py     IR-SE50 whose embedding is a grid of colours, written by hand
    places.py         a place in the picture
    avatars.py        the cartoon: people of a look in their places
    unet.py           UNet and ControlNet in plain torch, 64 channels
    autoencoder.py    pixels to latents and back
    net.py            the whole: projections, networks, sampler
    words.py          the words that the story's network reads
    story.py          a scene in the clothes of another one
    stored.py         id_patch, instant_id, parts2whole, sharing and story.safetensors: eight bits a number
    garments.py       pictures of clothes
    parts2whole.py    Parts2Whole's networks
    export.py         widened, as the files a ComfyUI loads; with export_encoder.py and export_parts2whole.py
    built.py          all of these files, written once
    alone.py          the demo's pictures without a host
    install.py        into one's own ComfyUI, with workflows
    measure.py        whose look is seen in which place
    training/         what trained the story's network
"""

import shared  # noqa: F401 - by it the pack's core is found
