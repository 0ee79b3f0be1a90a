"""IP-Adapter: FaceID, Plus, plain and full files."""
