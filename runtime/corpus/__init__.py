"""Many recordings: where they are, who works on them, and what became of each."""
