"""What Caffe has and PyTorch has not, as it is written into the files that need it.

These files are never imported: the text of a class or function goes into the written file, with those that it names.
What one names is in its own file.
"""
