"""Parts2Whole: the image token of each part, the network that reads the pose, and the released files."""
