"""An ONNX model as a net of Caffe's: what it is made of, read, converted and held against ONNX Runtime."""
