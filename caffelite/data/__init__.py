"""Where the numbers come from: databases, image transformations, prefetching."""
