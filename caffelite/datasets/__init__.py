"""The example data sets: CIFAR-10, MNIST, and a built-in one."""
