"""Image tokens of people beside the text: in cross-attention of UNets, and behind blocks of transformers."""
