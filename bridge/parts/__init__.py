"""Self-attention shared with parts: recorded by one UNet, read by another."""
