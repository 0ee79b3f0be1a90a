"""WithAnyone: faces for FLUX.1 inside the boxes of their places."""
