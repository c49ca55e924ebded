"""Ways out of Caffe: a net as another program's file, and the proof that it computes the same."""
