"""PuLID: one face or several by region, for SDXL and FLUX.1."""
