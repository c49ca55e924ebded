"""Numbers of few bits: Ristretto."""
