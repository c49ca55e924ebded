"""Element-wise functions of forks."""
