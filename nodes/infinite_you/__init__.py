"""InfiniteYou: faces for FLUX.1 through InfuseNet."""
