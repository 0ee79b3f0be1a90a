"""References: people as reference pictures of FLUX.2 and Qwen-Image-Edit, alone or by region."""
