"""Words of single people (regional prompting, attention couple), and what reads them in each network."""
