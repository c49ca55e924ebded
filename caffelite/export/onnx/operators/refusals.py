"""Why some layers have no operators in ONNX."""

from caffelite.export.onnx.operators import refuses

refuses("it reads data, in whose place a net that is deployed has an Input layer", "Data", "HDF5Data", "ImageData")
refuses("it takes data from a program, in whose place a net that is deployed has an Input layer", "MemoryData")
refuses("it reads windows of images, in whose place a net that is deployed has an Input layer", "WindowData")
refuses("it writes files, which no operator does", "HDF5Output")
refuses("its code is Python", "Python")
refuses("it holds predictions against labels, which a net that is deployed does not have", "Accuracy")
refuses(
    "it is a loss, which holds predictions against labels; a net that is deployed has none",
    *("ContrastiveLoss", "EuclideanLoss", "HingeLoss", "InfogainLoss", "MultinomialLogisticLoss"),
)
refuses(
    "it is a loss, which holds predictions against labels; a net that is deployed has a Softmax layer there",
    *("SoftmaxWithLoss", "SoftmaxLoss"),
)
refuses(
    "it is a loss, which holds predictions against labels; a net that is deployed has a Sigmoid layer there",
    "SigmoidCrossEntropyLoss",
)
