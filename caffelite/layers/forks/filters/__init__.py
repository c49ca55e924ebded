"""Convolution and pooling of other kinds: depthwise, local, over volumes."""
