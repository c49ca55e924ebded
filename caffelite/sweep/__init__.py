"""One net under many settings: the grid of runs, a run, what is kept of them, the table and the plot."""
