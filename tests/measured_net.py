"""A small net with BatchNorm, and its solver, for tests of what is kept of a run."""

from pathlib import Path

NET = """
name: "%s"
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 }
  data_filler { type: "gaussian" mean: 2 } data_filler { type: "constant" value: 1 } } }
layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" batch_norm_param { moving_average_fraction: 0.9 } }
layer { name: "ip" type: "InnerProduct" bottom: "bn" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def write_net(folder: Path, extra: str = "", name: str = "small") -> Path:
    """Write net and solver into a folder; return the solver's path."""
    (folder / "net.prototxt").write_text(NET % name)
    path = folder / "solver.prototxt"
    path.write_text(
        f'net: "{folder}/net.prototxt" base_lr: 0.1 momentum: 0.9 lr_policy: "fixed" max_iter: 12 random_seed: 3 '
        f'test_iter: 1 test_interval: 5 snapshot_prefix: "{folder}/small" {extra}'
    )
    return path
