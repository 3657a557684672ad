"""What can be imitated; each target ends in one thing: a byte stream to its agent."""
