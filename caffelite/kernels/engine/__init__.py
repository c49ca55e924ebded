"""How kernels are compiled, kept and started, and the arrays they take."""
