"""Two of anything that computes a net's blobs, held against each other: where they part, how, and why."""
