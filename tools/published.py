"""The published nets and weights files: where their authors, or those who trained them, put them online."""

from dataclasses import dataclass, field
from pathlib import Path

SENET = "hujie-frank/SENet"
KPZHANG = "kpzhang93/MTCNN_face_detection_alignment"
OPENPOSE = "CMU-Perceptual-Computing-Lab/openpose"
LINZAER = "Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB"
MTCNN = "imistyrain/MTCNN"
SURGERY = "yiwenguo/Dynamic-Network-Surgery"
ARM = "ARM-software/ML-examples"
LANDMARKS = "luoyetx/mini-caffe"
YU = "ShiqiYu/libfacedetection"
MNIST, CIFAR10 = "MNIST", "CIFAR-10"
#: Where a weights file came without a prototxt.
LENET = "BVLC/caffe:examples/mnist/lenet.prototxt"


def find(folder: Path, repository: str, path: str) -> Path | None:
    """Return the file of a repository, whatever its checkout is called."""
    owner, name = repository.split("/")
    places = (folder / place / path for place in (repository, f"{owner}+{name}", name))
    return next((place for place in places if place.is_file()), None)


@dataclass(frozen=True, slots=True)
class Published:
    """A net as its authors, or those who trained it, put it online.

    Attributes
    ----------
    name : str
    repository, path : str
        Where its prototxt is.
    output : tuple of int or None
        The shape of its first output; 0 stands for the batch, -1 for any number.
    words : dict of str to int
        Inputs that are whole numbers below the one given; all others are uniform between -1 and 1.
    """

    name: str
    repository: str
    path: str
    output: tuple[int, ...]
    words: dict[str, int] = field(default_factory=dict)


def _lrcn(name: str, path: str, output: tuple[int, ...]) -> Published:
    words = {"cont_sentence": 2, "input_sentence": 8801}
    return Published(name, "jeffdonahue/caffe", f"examples/coco_caption/{path}", output, words)


NETS = (
    Published("AlexNet", "BVLC/caffe", "models/bvlc_alexnet/deploy.prototxt", (0, 1000)),
    Published("CaffeNet", "BVLC/caffe", "models/bvlc_reference_caffenet/deploy.prototxt", (0, 1000)),
    Published("GoogLeNet", "BVLC/caffe", "models/bvlc_googlenet/deploy.prototxt", (0, 1000)),
    Published(
        "VGG-16",
        "foss-for-synopsys-dwc-arc-processors/synopsys-caffe-models",
        "caffe_models/vgg16/caffe_model/VGG_ILSVRC_16_layers_deploy.prototxt",
        (0, 1000),
    ),
    Published("VGG-19", "Semionn/deep_style", "VGG_ILSVRC_19_layers_deploy.prototxt", (0, 1000)),
    *(
        Published(f"ResNet-{n}", "KaimingHe/deep-residual-networks", f"prototxt/ResNet-{n}-deploy.prototxt", (0, 1000))
        for n in (50, 101, 152)
    ),
    *(
        Published(f"SqueezeNet {v}", "forresti/SqueezeNet", f"SqueezeNet_v{v}/deploy.prototxt", (0, 1000, 1, 1))
        for v in ("1.0", "1.1")
    ),
    Published("MobileNet v1", "shicai/MobileNet-Caffe", "mobilenet_deploy.prototxt", (0, 1000, 1, 1)),
    Published("MobileNet v2", "shicai/MobileNet-Caffe", "mobilenet_v2_deploy.prototxt", (0, 1000, 1, 1)),
    Published("DenseNet-121", "shicai/DenseNet-Caffe", "DenseNet_121.prototxt", (0, 1000, 1, 1)),
    Published("Inception-v3", "soeaver/caffe-model", "cls/inception/deploy_inception-v3.prototxt", (0, 1000)),
    Published("Inception-v4", "soeaver/caffe-model", "cls/inception/deploy_inception-v4.prototxt", (0, 1000)),
    Published("SE-ResNet-50", SENET, "models/SE-ResNet-50.prototxt", (0, 1000)),
    Published("SSD300", "xzgz/caffe-ssd", "models/VGGNet/VOC0712/SSD_300x300/deploy.prototxt", (1, 1, -1, 7)),
    Published("MobileNet-SSD", "chuanqi305/MobileNet-SSD", "voc/MobileNetSSD_deploy.prototxt", (1, 1, -1, 7)),
    Published("FCN-8s", "shelhamer/fcn.berkeleyvision.org", "voc-fcn8s/deploy.prototxt", (0, 21, 500, 500)),
    Published(
        "SegNet",
        "alexgkendall/SegNet-Tutorial",
        "Example_Models/segnet_model_driving_webdemo.prototxt",
        (0, 1, 360, 480),
    ),
    Published("PSPNet-50", "hszhao/PSPNet", "evaluation/prototxt/pspnet50_ADE20K_473.prototxt", (0, 150, 473, 473)),
    Published("ENet", "TimoSaemann/ENet", "prototxts/enet_deploy.prototxt", (0, 19, 512, 1024)),
    Published("ENet, BatchNorm merged", "TimoSaemann/ENet", "prototxts/enet_deploy_final.prototxt", (0, 19, 512, 1024)),
    Published("OpenPose body 25", OPENPOSE, "models/pose/body_25/pose_deploy.prototxt", (0, 78, 2, 2)),
    *(
        Published(f"MTCNN {name}", KPZHANG, f"code/codes/MTCNNv1/model/{file}.prototxt", output)
        for name, file, output in (
            ("P-Net", "det1", (0, 4, 1, 1)),
            ("R-Net", "det2", (0, 4)),
            ("O-Net", "det3", (0, 4)),
        )
    ),
    _lrcn("LRCN captioner", "lrcn_word_to_preds.deploy.prototxt", (1, 1000, 8801)),
    _lrcn("LSTM language model", "lstm_lm.deploy.prototxt", (1, 1, 8801)),
    Published(
        "LRCN activity",
        "LisaAnne/lisa-caffe-public",
        "examples/LRCN_activity_recognition/deploy_lstm.prototxt",
        (16, 10, 101),
        {"clip_markers": 2},
    ),
)


@dataclass(frozen=True, slots=True)
class Model:
    """A weights file with the net that it is for.

    Attributes
    ----------
    name : str
    repository, weights : str
    net : str
        The prototxt, in the same repository or as ``owner/name:path``.
    data : str
        The data set it is tested on; else it is compared.
    published : str
        What its authors say of its accuracy.
    onnx : str
        Its ONNX twin in the same repository.
    names : tuple of (str, str)
        Layers of the net that are called otherwise in the weights file.
    """

    name: str
    repository: str
    weights: str
    net: str
    data: str = ""
    published: str = ""
    onnx: str = ""
    names: tuple[tuple[str, str], ...] = ()

    @property
    def prototxt(self) -> tuple[str, str]:
        repository, _, path = self.net.rpartition(":")
        return repository or self.repository, path


def _mtcnn(name: str, net: str, weights: str = "") -> Model:
    return Model(f"MTCNN {name}", MTCNN, f"model/{weights or net}.caffemodel", f"model/{net}.prototxt")


def _ultra(name: str) -> Model:
    path = f"caffe/model/{name}/{name.replace('Slim', 'slim')}"
    twin = f"models/onnx/version-{name.replace('Slim', 'slim')}_without_postprocessing.onnx"
    return Model(f"Ultra-Light {name}", LINZAER, f"{path}.caffemodel", f"{path}.prototxt", onnx=twin)


def _surgery(name: str, folder: str, kind: str, published: str) -> Model:
    path = f"models/{folder}"
    weights = f"{path}/caffe_{folder}_{kind}.caffemodel"
    return Model(name, SURGERY, weights, f"{path}/{folder}.prototxt", MNIST, published)


_CIFAR = "cmsisnn-cifar10/models/cifar10"
MODELS = (
    _surgery("LeNet-5", "lenet5", "original", "99.09%"),
    _surgery("LeNet-5, pruned", "lenet5", "sparse", "99.09%"),
    _surgery("LeNet-300-100", "lenet300100", "original", "97.72%"),
    _surgery("LeNet-300-100, pruned", "lenet300100", "sparse", "98.01%"),
    Model(
        "LeNet",
        "ethereon/caffe-tensorflow",
        "examples/mnist/lenet_iter_10000.caffemodel",
        "examples/mnist/lenet.prototxt",
        MNIST,
        "about 99.1%",
    ),
    Model(
        "LeNet",
        "may0324/DeepCompression-caffe",
        "examples/mnist/models/lenet_iter_10000.caffemodel",
        LENET,
        MNIST,
        "about 99.1%",
        names=(("ip1", "fc1"), ("ip2", "fc2")),
    ),
    Model("LeNet", ARM, "armnn-mnist/model/lenet_iter_9000.caffemodel", LENET, MNIST, "about 99.1%"),
    Model(
        "CMSIS-NN CIFAR-10, M7",
        ARM,
        f"{_CIFAR}_m7_iter_300000.caffemodel.h5",
        f"{_CIFAR}_m7_train_test.prototxt",
        CIFAR10,
        "80.3%",
    ),
    Model(
        "CMSIS-NN CIFAR-10, M4",
        ARM,
        f"{_CIFAR}_m4_iter_70000.caffemodel.h5",
        f"{_CIFAR}_m4_train_test.prototxt",
        CIFAR10,
    ),
    _ultra("RFB-320"),
    _ultra("Slim-320"),
    *(
        _mtcnn(name, f"caffe/{file}")
        for name, file in (("P-Net", "det1"), ("R-Net", "det2"), ("O-Net", "det3"), ("L-Net", "det4"))
    ),
    _mtcnn("P-Net, depthwise", "fast/det1_"),
    _mtcnn("R-Net, half", "caffe/det2", "fast/det2_half"),
    _mtcnn("O-Net, half", "fast/det3-half"),
    _mtcnn("O-Net, fast", "fast/det3"),
    *(
        Model(
            f"MTCNN {name}, ReLU",
            "nwesem/mtcnn_facenet_cpp_tensorRT",
            f"mtcnn_facenet_cpp_tensorRT/mtCNNModels/{file}.caffemodel",
            f"mtcnn_facenet_cpp_tensorRT/mtCNNModels/{file}.prototxt",
        )
        for name, file in (("P-Net", "det1_relu"), ("R-Net", "det2_relu"), ("O-Net", "det3_relu"))
    ),
    Model(
        "SqueezeNet 1.1, cats and dogs",
        "mrgloom/kaggle-dogs-vs-cats-solution",
        "demo/SqeezeNet_v1.1/model.caffemodel",
        "demo/SqeezeNet_v1.1/deploy.prototxt",
    ),
    *(
        Model(
            f"YuFaceDetectNet {v}",
            YU,
            f"models/caffe/yufacedetectnet-open-{v}.caffemodel",
            f"models/caffe/yufacedetectnet-open-{v}.prototxt",
        )
        for v in ("v1", "v2")
    ),
    Model("VDSR", "huangzehao/caffe-vdsr", "Train/VDSR_Adam.caffemodel", "Train/VDSR_net_deploy.prototxt"),
    Model(
        "VanFace landmarks", "lsy17096535/face-landmark", "model/VanFace.caffemodel", "model/landmark_deploy.prototxt"
    ),
    Model(
        "Landmarks",
        "xialuxi/arcface-caffe",
        "landmark_and_pose/new_model/landmark.caffemodel",
        "landmark_and_pose/new_model/landmark.prototxt",
    ),
    *(
        Model(
            f"Deep landmarks {file}",
            LANDMARKS,
            f"example/models/deeplandmark/{file}.caffemodel",
            f"example/models/deeplandmark/{file}.prototxt",
        )
        for file in ("1_F", "2_LE1", "2_N1")
    ),
    Model(
        "MobileNet-YOLO v3 lite",
        "eric612/MobileNet-YOLO",
        "models/tusimple/mobilenet_yolov3_lite_deploy_iter_50000.caffemodel",
        "models/tusimple/mobilenet_yolov3_lite_deploy.prototxt",
    ),
)
