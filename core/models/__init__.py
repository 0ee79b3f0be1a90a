"""Published files: the table of them, what a file is by its contents, where it lies and what is wrong with it."""
