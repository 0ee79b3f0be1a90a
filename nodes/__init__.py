"""The nodes: a file per step of the graph, a folder per method.

This module imports nothing, so that the networks of the methods (`net.py`) can be imported without a host.
"""
