"""Parts of a person: what counts of them, and attention that is shared with them."""
