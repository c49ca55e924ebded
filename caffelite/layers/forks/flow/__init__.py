"""Optical flow: FlowNet and FlowNet 2."""
