"""Sessions whose networks run on an inference server."""
