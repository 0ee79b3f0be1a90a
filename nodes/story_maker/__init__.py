"""StoryMaker: face, hair, clothes and body of each person."""
