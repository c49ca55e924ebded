"""Caffe's Python package, which is caffelite's.

Importing it puts ``caffelite.pycaffe.caffe`` and its modules under the names that scripts import: ``caffe``,
``caffe.io``, ``caffe.proto.caffe_pb2`` and so on.
"""

from caffelite.pycaffe.package import as_caffe

as_caffe()
