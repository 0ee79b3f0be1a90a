"""Parts2Whole: a person from pictures of parts, with the released networks."""
