"""Words of single people in a transformer (regional prompting): a text of their own for each person."""
