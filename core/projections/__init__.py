"""Modules that several published methods have: perceivers, projections of embeddings, layers of adapters."""
