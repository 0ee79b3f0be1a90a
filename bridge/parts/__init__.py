"""Parts that the self-attention of a UNet reads: worn or connected, recorded, carried and shared."""
