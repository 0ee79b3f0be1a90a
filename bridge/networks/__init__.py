"""The host's networks, UNets and transformers: families, tokens and rows, and how attention is divided."""
