"""PhotoMaker: a person in the class word of the prompt."""
