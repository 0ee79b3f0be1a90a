"""Published model files: the table, what a file is by its contents, face packs, the doctor."""
