"""The register tiles: explicit vector instructions that loops are built around."""
