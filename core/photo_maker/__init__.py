"""PhotoMaker: people through the words of the prompt."""
