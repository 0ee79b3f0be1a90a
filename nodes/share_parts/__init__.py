"""Share Parts Attention: parts on any SD1.5 or SDXL model, without training."""
