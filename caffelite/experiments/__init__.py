"""What batch normalization does, shown on nets that are trained here and now."""

#: Each is a module of this package, its name with _ for -, with ``TITLE``, ``CLAIM`` and ``run(bench) -> Result``.
EXPERIMENTS = {
    "speedup": "one BatchNorm layer, with sigmoid and with ReLU",
    "depth": "BatchNorm in none to all of four hidden layers",
    "adaptive": "BatchNorm, Adam, or both",
    "batch-size": "batches of 4, 64, 256 and 1,024 images",
    "process-statistics": "eight processes with 4 images each, normalized by the whole batch or each by itself",
    "three-by-hundred": "three hidden layers of 100 from small weights, and what the layer costs",
    "ignored-gradient": "a gradient that takes the mean for a constant",
    "moving-average": "which statistics to test with, and where cifar10_bn loses its points",
    "one-image": "test batches of one image, with their own statistics and with the stored ones",
    "phases": "the four ways to set use_global_stats",
}
