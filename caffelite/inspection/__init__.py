"""What a file is and what it holds: any of Caffe's, told for people and for programs."""
