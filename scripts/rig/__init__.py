"""What demo.py, bench.py and the tests run on: hosts, stand-in models, photos, workflow files as prompts."""
