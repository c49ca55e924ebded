"""Layers for the tests of Python layers, as users write them."""

import numpy as np

import caffelite as caffe


class EuclideanLoss(caffe.Layer):
    """Half the squared distance of two blobs, a mean over images."""

    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise ValueError("two bottoms are needed")

    def reshape(self, bottom, top):
        self.diff = np.zeros_like(bottom[0].data)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.diff[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.diff**2) / bottom[0].num / 2

    def backward(self, top, propagate_down, bottom):
        for i, sign in enumerate((1, -1)):
            if propagate_down[i]:
                bottom[i].diff[...] = sign * top[0].diff[0] * self.diff / bottom[i].num


class Scaled(caffe.Layer):
    """Each channel times a parameter, which starts at 2, plus ``param_str``."""

    def setup(self, bottom, top):
        self.blobs.add_blob(bottom[0].channels)
        self.blobs[0].data[...] = 2
        self.add = float(self.param_str_)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data * self.blobs[0].data[:, None] + self.add

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += (top[0].diff * bottom[0].data).sum((0, 2))
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff * self.blobs[0].data[:, None]


class Half(caffe.Layer):
    """Sets the negative values to zero, and nothing else: for use in place."""

    def forward(self, bottom, top):
        self.negative = top[0].data < 0
        top[0].data[self.negative] = 0

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[self.negative] = 0

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)


class Doubled(caffe.Layer):
    """Doubles a blob in place, through its bottom or its top."""

    def reshape(self, bottom, top):
        self.blob = {"bottom": bottom, "top": top}[self.param_str][0]

    def forward(self, bottom, top):
        self.blob.data[...] *= 2

    def backward(self, top, propagate_down, bottom):
        self.blob.diff[...] *= 2


class Early(caffe.Layer):
    """The sum of the squares of its first bottom, whose gradient is computed on the way."""

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        top[0].data[0] = (bottom[0].data ** 2).sum()
        bottom[0].diff[...] = 2 * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] *= top[0].diff[0]


class Wanted(caffe.Layer):
    """Keeps what it is told of the gradients that are wanted."""

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        top[0].data[0] = 0

    def backward(self, top, propagate_down, bottom):
        self.wanted = list(propagate_down)


class Images(caffe.Layer):
    """Images whose sizes ``param_str`` lists, one after the other; all pixels have the number of the pass."""

    def setup(self, bottom, top):
        self.sizes = eval(self.param_str)
        self.passes = 0

    def reshape(self, bottom, top):
        top[0].reshape(1, 2, *self.sizes[self.passes % len(self.sizes)])
        top[1].reshape(1)

    def forward(self, bottom, top):
        self.passes += 1
        top[0].data[...] = self.passes
        top[1].data[...] = self.passes % 2

    def backward(self, top, propagate_down, bottom):
        pass


class Positive(caffe.Layer):
    """The positive values, however many; gives its top a shape in ``forward`` only."""

    def setup(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.places = np.flatnonzero(bottom[0].data > 0)
        top[0].reshape(len(self.places))
        top[0].data[...] = bottom[0].data.reshape(-1)[self.places]

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff.reshape(-1)[self.places] = top[0].diff


class Ones(caffe.Layer):
    """As many ones as its bottom has values; gives its top that shape in ``forward`` only, after ``setup``."""

    def setup(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        top[0].reshape(*bottom[0].shape)
        top[0].data[...] = 1

    def backward(self, top, propagate_down, bottom):
        pass


class Phase(caffe.Layer):
    """The phase."""

    def reshape(self, bottom, top):
        top[0].reshape()

    def forward(self, bottom, top):
        top[0].data[()] = self.phase


class Wrong(caffe.Layer):
    """Goes wrong where ``param_str`` says."""

    def setup(self, bottom, top):
        self._fail("setup")

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        if self.param_str == "bottom":
            bottom[0].reshape(3)
        if self.param_str == "shape":
            top[0].data[...] = np.zeros(3)
        if self.param_str == "numpy":
            np.reshape(top[0].data, 3)
        self._fail("forward")

    def backward(self, top, propagate_down, bottom):
        self._fail("backward")

    def _fail(self, where):
        if self.param_str == where:
            raise KeyError("no such\n  thing")


class Bare(caffe.Layer):
    """Has nothing."""


class NoLayer:
    """Is something else."""


class NoShape(caffe.Layer):
    """Gives its top the shape ``param_str``."""

    def reshape(self, bottom, top):
        top[0].reshape(*eval(self.param_str))

    def forward(self, bottom, top):
        pass


class Leaves(caffe.Layer):
    """Ends the program, or tries to."""

    def setup(self, bottom, top):
        raise SystemExit("no configuration")

    def forward(self, bottom, top):
        pass


class Rows(caffe.Layer):
    """A source: numbers that go on, three a batch."""

    def setup(self, bottom, top):
        self.next = 0
        top[0].reshape(3)

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        top[0].data[...] = np.arange(self.next, self.next + 3)
        self.next += 3
