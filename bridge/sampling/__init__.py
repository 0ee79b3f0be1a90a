"""One sampling: what conditioning carries to it, which entries act when and where, and what is told of it."""
