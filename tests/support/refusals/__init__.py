"""What nodes of single methods refuse, and what they say in their own words.

Refused by a node: by_the_node.py. Refused when the sampler runs: by_the_sampler.py. What works and could be better:
remarks.py. A new case is a function there that makes the graph, below the decorator that says how the graph must end.
"""
