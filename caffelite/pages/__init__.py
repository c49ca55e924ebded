"""Pages that open from disk: what they are made of, not what is on them."""
