"""The layer types: those of BVLC's Caffe a file each, those of its forks by family; ``contract`` is what they share."""
