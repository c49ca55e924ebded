"""The layer types that forks of Caffe have, by family."""
