"""Core ML packages: converted, described and checked on any machine."""
