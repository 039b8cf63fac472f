"""Where artifacts live: the digest-keyed store."""
