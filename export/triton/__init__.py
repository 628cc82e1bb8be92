"""A model repository for NVIDIA Triton, made of verified artifacts."""
