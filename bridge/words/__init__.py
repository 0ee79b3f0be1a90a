"""Words that belong to people: tokens of a text in UNets, texts of their own in transformers."""
