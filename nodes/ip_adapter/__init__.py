"""IP-Adapter: FaceID, Plus, plain and full files, and a style per person."""
