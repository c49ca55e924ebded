"""Keep OpenCV's answers to what tests/opencv_cases.py asks, for tests without OpenCV (``pip install "opencv-python<5"``).

    PYTHONPATH=tests python tests/dnn/record_opencv.py

writes ``opencv.npz`` beside this file.
"""

import tempfile
from pathlib import Path

import cv2
import numpy as np
from opencv_cases import BLOBS, NETS, PARAMS, THRESHOLDS, boxes, image, inputs, write

#: What OpenCV 4.14 does not answer: it has fused these layers into the one before.
NOT_ASKED = {("map", "bn"), ("map", "scale")}


def record_nets(answers: dict[str, np.ndarray], folder: Path) -> None:
    for name in NETS:
        net = cv2.dnn.readNetFromCaffe(*write(name, folder))
        answers[f"{name} names"] = np.array(net.getLayerNames())
        answers[f"{name} ends"] = net.getUnconnectedOutLayers()
        shapes = [[blob.shape for blob in net.getLayer(layer).blobs] for layer in net.getLayerNames()]
        answers[f"{name} blobs"] = np.array(list(map(str, shapes)))
        for number, values in enumerate(inputs(name)):
            for layer in net.getLayerNames():
                if (name, layer) not in NOT_ASKED:
                    # A net of its own: what is asked of one changes what it fuses.
                    fresh = cv2.dnn.readNetFromCaffe(*write(name, folder))
                    fresh.setInput(values)
                    answers[f"{name} {number} {layer}"] = fresh.forward(layer)
        net.setInput(inputs(name)[0], "", 0.5, (0.1, 0.2, 0.3))
        answers[f"{name} scaled"] = net.forward()


def record_models(answers: dict[str, np.ndarray], folder: Path) -> None:
    picture = image(20, 30, 3)
    params = {"scale": 0.02, "size": (6, 8), "mean": (127, 127, 127), "swapRB": True}
    model = cv2.dnn.ClassificationModel(*reversed(write("scores", folder)))
    model.setInputParams(**params)
    model.setOutputNames(["prob"])
    answers["classify"] = np.array(model.classify(picture))
    model.setEnableSoftmaxPostProcessing(True)
    answers["classify, softmax"] = np.array(model.classify(picture))
    model = cv2.dnn.SegmentationModel(*reversed(write("map", folder)))
    model.setInputParams(**params)
    answers["segment"] = model.segment(picture)
    model = cv2.dnn.KeypointsModel(*reversed(write("map", folder)))
    model.setInputParams(**params)
    for threshold in (0.5, 5.0):
        answers[f"estimate {threshold}"] = np.array(model.estimate(picture, threshold))
    model = cv2.dnn.DetectionModel(*reversed(write("ssd", folder)))
    model.setInputParams(**(params | {"size": (8, 8)}))
    for key, value in zip(("classes", "confidences", "boxes"), model.detect(picture, 0.6), strict=True):
        answers[f"detect {key}"] = np.array(value)


def record_boxes(answers: dict[str, np.ndarray]) -> None:
    corners, scores, classes = boxes(60)
    for number, (score, share, eta, top) in enumerate(THRESHOLDS):
        answers[f"nms {number}"] = np.array(cv2.dnn.NMSBoxes(corners, scores, score, share, eta, top))
        batched = cv2.dnn.NMSBoxesBatched(corners, scores, classes, score, share, eta, top)
        answers[f"nms batched {number}"] = np.array(batched)
        for method in (1, 2):
            whole = [tuple(map(int, box)) for box in corners]
            soft = cv2.dnn.softNMSBoxes(whole, scores, score, share, top, 0.5, method)
            answers[f"soft {method} {number} scores"], answers[f"soft {method} {number}"] = map(np.array, soft)


def main() -> None:
    answers: dict[str, np.ndarray] = {"version": np.array(cv2.__version__)}
    with tempfile.TemporaryDirectory() as folder:
        record_nets(answers, Path(folder))
        record_models(answers, Path(folder))
    record_boxes(answers)
    for name, (picture, arguments) in BLOBS.items():
        answers[f"blob {name}"] = cv2.dnn.blobFromImage(picture, **arguments)
    for name, arguments in PARAMS.items():
        params = cv2.dnn.Image2BlobParams(*arguments)
        answers[f"params {name}"] = cv2.dnn.blobFromImageWithParams(image(31, 23, 3), params)
    constants = {name: value for name, value in vars(cv2.dnn).items() if isinstance(value, int)}
    answers["constants"], answers["numbers"] = np.array(list(constants)), np.array(list(constants.values()))
    np.savez_compressed(Path(__file__).parent / "opencv.npz", **answers)


if __name__ == "__main__":
    main()
