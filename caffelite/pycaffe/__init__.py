"""Caffe's Python names over caffelite's nets and solvers."""
