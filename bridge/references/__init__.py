"""Reference pictures of people in diffusion transformers, while the sampler runs."""
