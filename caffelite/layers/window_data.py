"""WindowData: windows in images, of objects and of background."""

from caffelite.data.windows import WindowStream
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.streamed import Streamed

_MODES = ("warp", "square")


@layer("WindowData")
class WindowData(Streamed):
    """Batches of windows (first top), cut out of images and resized, and their classes (second top; background is 0).

    ``window_data_param``: ``source``, a text file with for each image a line each of ``# NUMBER`` (from 0), path,
    channels (3), height, width, number of windows, and then for each window ``CLASS OVERLAP X1 Y1 X2 Y2``, the last
    corner included; ``root_folder`` (put before each path as it is); ``batch_size``; ``fg_threshold`` (0.5: with this
    overlap or more a window is foreground), ``bg_threshold`` (0.5: below, it is background; between the two it is not
    used); ``fg_fraction`` (0.25 of a batch are foreground, its last ones); ``context_pad`` (0; that many pixels of what
    is around the window, on each side of the result); ``crop_mode`` ("warp", or "square": the window becomes a square
    first); ``scale`` (1); ``cache_images`` (false; files stay in memory).

    ``transform_param``: ``crop_size``, width and height of the result; ``mirror``; ``mean_file`` (its middle) or
    ``mean_value``; its ``scale`` is not used, as in Caffe. What lies outside the image is 0 after the mean was taken
    off. Windows are drawn at random, any number of times.

    Needs Pillow. Colours are blue, green, red; resizing is bilinear, in OpenCV's whole numbers.

    Girshick et al., "Rich feature hierarchies for accurate object detection and semantic segmentation", 2014. Source:
    Caffe's ``window_data_layer.cpp``.
    """

    facts = Streamed.facts.but(tops=2, kind="data", settings=("data_param", "transform_param", "window_data_param"))

    def setup(self) -> None:
        settings, crop = self.param.window_data_param, self.param.transform_param.crop_size
        if not settings.source:
            self.error("window_data_param has no source, a list of images and windows", "window_data_param")
        if crop < 1:
            self.error("transform_param needs crop_size, the width and height that windows get", "transform_param")
        if 2 * settings.context_pad >= crop:
            self.error(
                f"context_pad {settings.context_pad} on each side leaves nothing of crop_size {crop}", "context_pad"
            )
        if settings.crop_mode not in _MODES:
            self.error(f'crop_mode is "{settings.crop_mode}", expected "warp" or "square"', "crop_mode")
        if not 0 <= settings.fg_fraction <= 1:
            self.error(f"fg_fraction is {settings.fg_fraction:g}, expected 0 to 1", "fg_fraction")
        self.start(settings.batch_size)
        self.check_size(crop, crop, "crop_size")

    def open(self) -> WindowStream:
        settings = self.param.window_data_param
        return WindowStream(settings, self.share, self.param.transform_param, self.seed & 0x7FFFFFFF, self.where)
