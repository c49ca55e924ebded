"""Many processes: tasks side by side, shares of a batch, reductions; the only room that knows MPI."""
