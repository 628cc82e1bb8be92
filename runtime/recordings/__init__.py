"""What all commands over many recordings share: finding, failing one by one, printing, writing."""
