"""InstantID: a face photo for cross-attention, and IdentityNet for where the face is."""
