"""What the layers of detectors are in ONNX."""
