"""Image tokens of people (decoupled cross-attention, IP-Adapter): on UNets, and behind blocks of transformers."""
