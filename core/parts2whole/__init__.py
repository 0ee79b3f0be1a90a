"""Parts2Whole: a person from parts. masks and features of the parts, and the network that reads the pose."""
