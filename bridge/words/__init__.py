"""Words of single people (regional prompting, attention couple): encode.py, and what reads them in each network."""
