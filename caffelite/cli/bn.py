"""What batch normalization does in a net: found out, shown and changed."""

#: Each is a module ``bn_COMMAND`` of this package, built like that of any command.
COMMANDS = {
    "report": "say what is wrong, and what mends it, on a page with what was measured",
    "check": "find what is wrong with the batch normalization of a net, and how to mend it",
    "show": "show the stored statistics, and how far they are from those of the data",
    "recalibrate": "measure the statistics anew over the training data",
    "fold": "write the deploy net, with BatchNorm and Scale in the weights",
}

EXAMPLES = """examples:
  caffelite bn report models/cifar10_bn.prototxt --weights snapshots/cifar10_bn_iter_5000.caffemodel
  caffelite bn check models/cifar10_bn.prototxt
  caffelite bn show models/cifar10_bn.prototxt --weights snapshots/cifar10_bn_iter_5000.caffemodel
  caffelite bn recalibrate models/cifar10_bn.prototxt --weights snapshots/cifar10_bn_iter_5000.caffemodel
  caffelite bn fold models/cifar10_bn.prototxt --weights snapshots/cifar10_bn_iter_5000.caffemodel

"caffelite bn COMMAND --help" tells more of each.
"""
