"""Where the numbers come from: databases, image transformations, prefetching, and the example data sets."""
