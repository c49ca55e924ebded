"""What every layer has in common: blobs, the context, the contract, facts, and the registry of types."""
