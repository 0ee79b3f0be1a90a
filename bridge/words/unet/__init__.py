"""Words of single people in a UNet (regional prompting, attention couple): tokens of the text, read by region."""
