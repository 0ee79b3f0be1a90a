"""The nodes: a file per step of the graph, a folder per method. Inert, so that formulas can be had without a host."""
