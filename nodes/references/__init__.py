"""References: people as reference pictures of transformers that take several, alone or by region."""
