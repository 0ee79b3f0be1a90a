"""IP-Adapter: its files, what they make of faces and pictures, and in which layers it is heard."""
