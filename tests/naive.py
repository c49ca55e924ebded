"""Plain versions of the kernels, in float64 loops that can be checked by eye."""

import numpy as np


def convolution(x, w, b, stride, pad, dilation, group):
    """y of a two-dimensional convolution."""
    n, c, h, width = x.shape
    o, per_group, kh, kw = w.shape
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2))
    oh = (h + 2 * pad[0] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    ow = (width + 2 * pad[1] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((n, o, oh, ow))
    for out in range(o):
        first = out // (o // group) * per_group
        for ch in range(per_group):
            for i in range(kh):
                for j in range(kw):
                    rows = slice(i * dilation[0], i * dilation[0] + (oh - 1) * stride[0] + 1, stride[0])
                    columns = slice(j * dilation[1], j * dilation[1] + (ow - 1) * stride[1] + 1, stride[1])
                    y[:, out] += padded[:, first + ch, rows, columns] * w[out, ch, i, j]
        y[:, out] += 0 if b is None else b[out]
    return y


def convolution_gradients(x, w, dy, stride, pad, dilation, group):
    """dx, dw, db of the same."""
    n, c, h, width = x.shape
    o, per_group, kh, kw = w.shape
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2))
    d_padded, dw = np.zeros(padded.shape), np.zeros(w.shape)
    oh, ow = dy.shape[2:]
    for out in range(o):
        first = out // (o // group) * per_group
        for ch in range(per_group):
            for i in range(kh):
                for j in range(kw):
                    rows = slice(i * dilation[0], i * dilation[0] + (oh - 1) * stride[0] + 1, stride[0])
                    columns = slice(j * dilation[1], j * dilation[1] + (ow - 1) * stride[1] + 1, stride[1])
                    dw[out, ch, i, j] = (padded[:, first + ch, rows, columns] * dy[:, out]).sum()
                    d_padded[:, first + ch, rows, columns] += dy[:, out] * w[out, ch, i, j]
    dx = d_padded[:, :, pad[0] : pad[0] + h, pad[1] : pad[1] + width]
    return dx, dw, dy.sum(axis=(0, 2, 3), dtype=np.float64)


def pooling(x, kind, kernel, stride, pad, out):
    """y of a pooling, and for MAX the place of the first largest in its map."""
    n, c, h, w = x.shape
    y, place = np.zeros((n, c, *out)), np.zeros((n, c, *out), int)
    for oy in range(out[0]):
        for ox in range(out[1]):
            y0, x0 = oy * stride[0] - pad[0], ox * stride[1] - pad[1]
            y1, x1 = min(y0 + kernel[0], h + pad[0]), min(x0 + kernel[1], w + pad[1])
            size = (y1 - y0) * (x1 - x0)
            window = x[:, :, max(y0, 0) : min(y1, h), max(x0, 0) : min(x1, w)]
            flat = window.reshape(n, c, -1)
            if kind == "AVE":
                y[:, :, oy, ox] = flat.sum(axis=2, dtype=np.float64) / size
            else:
                y[:, :, oy, ox] = flat.max(axis=2)
                row, column = np.divmod(flat.argmax(axis=2), window.shape[3])
                place[:, :, oy, ox] = (row + max(y0, 0)) * w + column + max(x0, 0)
    return y, place
