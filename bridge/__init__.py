"""The only code besides the nodes that imports the host: folders, loading, conditioning."""
