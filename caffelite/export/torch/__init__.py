"""A net as a PyTorch module: a file of Python that a person can read, and its weights beside it."""
