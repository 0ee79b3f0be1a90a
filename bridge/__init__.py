"""The only code besides the nodes that imports the host. Each folder says what it holds."""
