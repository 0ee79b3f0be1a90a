"""How alike pictures are to the people they are meant to show, and the best pictures of a batch by that.

Similarities are cosines of embeddings, as the recognisers give them: 1 is the same photo, strangers lie around 0.
"""
