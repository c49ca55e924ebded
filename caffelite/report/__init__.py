"""What a training run did, in numbers and on a page."""
