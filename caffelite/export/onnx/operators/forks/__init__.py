"""What the layers of forks are in ONNX, in a file a family."""
