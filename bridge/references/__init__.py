"""Reference pictures of people in diffusion transformers, while the sampler runs.

record.py        whose the reference latents of a prompt are
by_region.py     each person's references are read in that person's region alone
centred.py       Krea 2's references in the middle of the picture
frame_texts.py   Z-Image's texts around reference pictures, in a batch of several rows
"""
