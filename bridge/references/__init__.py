"""Reference pictures of people in diffusion transformers, while the sampler runs.

record.py        whose the reference latents of a prompt are
by_region.py     each person's references are read in that person's region alone
as_trained.py    Krea 2's references in the middle of the picture; Z-Image's texts around them, in several rows
"""
