"""ImageData: images from files, and their labels."""

from caffelite.data.images import ImageStream
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.streamed import Streamed


@layer("ImageData")
class ImageData(Streamed):
    """Batches of images (first top) and labels (second top) from the files of a list, round and round.

    ``image_data_param``: ``source`` (a text file, in each line a path and a whole number, the label), ``root_folder``
    (put before each path as it is, so it ends in a slash), ``batch_size`` (1), ``new_height`` and ``new_width``
    (resize to these), ``is_color`` (true), ``shuffle`` (another order each time round), ``rand_skip`` (begin up to
    that many images in, at random). ``transform_param`` as in :class:`caffelite.layers.data.Data`. Colours are blue,
    green, red. Images of different sizes go together where ``crop_size`` is set and ``mean_file`` is not.

    Needs Pillow. Resizing is bilinear, in OpenCV's whole numbers; grey values of a colour PNG (``is_color: false``)
    may differ from OpenCV's by one. With ``batch_size: 1`` and without ``crop_size`` Caffe takes each image in its own
    size; here all have that of the first.

    Source: Caffe's ``image_data_layer.cpp``.
    """

    facts = Streamed.facts.but(tops=2, kind="data", settings=("data_param", "image_data_param", "transform_param"))

    def setup(self) -> None:
        settings = self.param.image_data_param
        if not settings.source:
            self.error("image_data_param has no source, a list of images and labels", "image_data_param")
        if bool(settings.new_height) != bool(settings.new_width):
            self.error("new_height and new_width are given together or not at all", "image_data_param")
        self.start(settings.batch_size, settings.rand_skip)
        self.check_size(settings.new_height, settings.new_width, "new_height")

    def open(self) -> ImageStream:
        seed = self.seed & 0x7FFFFFFF
        settings = self.param.image_data_param
        return ImageStream(settings, self.share, self.param.transform_param, self.context.phase, seed, self.where)
