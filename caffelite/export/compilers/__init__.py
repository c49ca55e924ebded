"""Programs that read Caffe's files themselves: which layers each takes, a JSON file a program, and what of a net it
would refuse."""
