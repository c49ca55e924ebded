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


def drawn_pooling(x, shares, kernel, stride):
    """The place in its map of the element of each window at which the running sum reaches a share of the sum."""
    place = np.zeros(shares.shape, int)
    for n, c, oy, ox in np.ndindex(shares.shape):
        y0, x0 = oy * stride[0], ox * stride[1]
        window = x[n, c, y0 : y0 + kernel[0], x0 : x0 + kernel[1]].astype(np.float64)
        sums = np.cumsum(window)
        first = min(np.searchsorted(sums, shares[n, c, oy, ox] * sums[-1]), window.size - 1)
        place[n, c, oy, ox] = (first // window.shape[1] + y0) * x.shape[3] + first % window.shape[1] + x0
    return place


def expected_pooling(x, dy, kernel, stride):
    """y = sum of x² / sum of x of each window, and dx."""
    y, dx = np.zeros(dy.shape), np.zeros(x.shape)
    for oy in range(dy.shape[2]):
        for ox in range(dy.shape[3]):
            rows = slice(oy * stride[0], oy * stride[0] + kernel[0])
            columns = slice(ox * stride[1], ox * stride[1] + kernel[1])
            window = x[:, :, rows, columns].astype(np.float64)
            total = window.sum(axis=(2, 3), keepdims=True)
            mean = (window**2).sum(axis=(2, 3), keepdims=True) / total
            y[:, :, oy, ox] = mean[:, :, 0, 0]
            dx[:, :, rows, columns] += dy[:, :, oy : oy + 1, ox : ox + 1] * (2 * window - mean) / total
    return y, dx


def product(a, b, bias=0.0):
    """bias[j] + the sum over k of a[i, k] * b[k, j]."""
    return a.astype(np.float64) @ b + bias


def batch_statistics(x):
    """Mean and variance (divided by their number) of the channels of x, images x channels x length."""
    exact = x.astype(np.float64)
    return exact.mean(axis=(0, 2)), exact.var(axis=(0, 2))


def batchnorm(x, eps, gamma=1.0, beta=0.0):
    """y of a batch normalization by the statistics of the batch."""
    mean, variance = batch_statistics(x)
    z = (x - mean[:, None]) / np.sqrt(variance + eps)[:, None]
    return z * np.reshape(gamma, (-1, 1)) + np.reshape(beta, (-1, 1))


def batchnorm_gradients(x, dy, eps, gamma=1.0):
    """dx, d_gamma, d_beta of the same."""
    z, g = batchnorm(x, eps), dy.astype(np.float64)
    inverse_std = 1 / np.sqrt(batch_statistics(x)[1] + eps)
    dx = g - g.mean(axis=(0, 2), keepdims=True) - z * (g * z).mean(axis=(0, 2), keepdims=True)
    return dx * (inverse_std * gamma)[:, None], (g * z).sum(axis=(0, 2)), g.sum(axis=(0, 2))


def scale(x, factor=1.0, offset=0.0):
    """y = x * factor + offset, x of outer x channels x length."""
    return x * np.reshape(factor, (-1, 1)) + np.reshape(offset, (-1, 1))


def scale_gradients(x, dy, factor):
    """dx, d_factor, d_offset of the same."""
    exact = dy.astype(np.float64)
    return exact * factor[:, None], (x * exact).sum(axis=(0, 2)), exact.sum(axis=(0, 2))


def softmax(x):
    """Softmax over the middle axis."""
    e = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_gradient(y, dy):
    """dx of the same."""
    return y * (dy - (dy * y).sum(axis=1, keepdims=True))


def cross_entropy(x, t):
    """The sigmoid cross entropy of each element."""
    p = 1 / (1 + np.exp(-x.astype(np.float64)))
    return -(t * np.log(p) + (1 - t) * np.log1p(-p))


def cross_entropy_gradient(x, t):
    """dx of the same."""
    return 1 / (1 + np.exp(-x.astype(np.float64))) - t


def difference(a, b):
    """a - b, and the sum of squares of each row of it."""
    d = a.astype(np.float64) - b
    return d, (d**2).sum(axis=1)


def masked(x, mask, scale):
    """x * scale where the mask is set, else 0."""
    return np.where(mask, x * scale, 0)


def gather(table, index):
    """The rows of a table that the index names."""
    return np.stack([table[i] for i in index])


def scatter(rows, index, table):
    """The table after each row was added to where its index says."""
    table = table.astype(np.float64)
    for row, i in zip(rows, index, strict=True):
        table[i] += row
    return table


def resize(x, rows, columns):
    """Maps between whose rows and columns values lie: (low, high, share of high) along each axis."""
    x = x.astype(np.float64)
    low, high, share = rows
    x = x[:, low] * (1 - share)[:, None] + x[:, high] * share[:, None]
    low, high, share = columns
    return x[:, :, low] * (1 - share) + x[:, :, high] * share


def lstm_step(sums, cont, before):
    """Cell and hidden values of a step; sums are streams x 4 x size, before is streams x size."""
    i, f, o = (1 / (1 + np.exp(-sums[:, k].astype(np.float64))) for k in range(3))
    cell = cont[:, None] * f * before + i * np.tanh(sums[:, 3].astype(np.float64))
    return cell, o * np.tanh(cell)


def tile(x, k_offsets, r_offsets, columns, step, w, start):
    """start[r, c, lane] + sum over k of x[k_offsets[k] + r_offsets[r] + c * step] * w[k, lane]."""
    out = start.astype(np.float64)
    for r, row in enumerate(r_offsets):
        for c in range(columns):
            for k, offset in enumerate(k_offsets):
                out[r, c] += x[offset + row + c * step] * w[k].astype(np.float64)
    return out


def spread(x, k_offsets, v_in, piece, w):
    """[output, piece j, i]: w[0, output] + sum over k of w[1 + k, output] * x[k_offsets[k] + v_in[j] + i]."""
    out = np.zeros((w.shape[1], len(v_in), piece))
    for m in range(w.shape[1]):
        for j, start in enumerate(v_in):
            for i in range(piece):
                out[m, j, i] = w[0, m]
                for k, offset in enumerate(k_offsets):
                    out[m, j, i] += float(w[1 + k, m]) * x[offset + start + i]
    return out


def lanes_tile(a, b, start):
    """start[r, lane] + sum over k of a[r, k] * b[k, lane]; rows of ``a`` that are missing are its last one."""
    out = start.astype(np.float64)
    for r in range(len(start)):
        for k in range(len(b)):
            out[r] += float(a[min(r, len(a) - 1), k]) * b[k]
    return out


def dots_tile(a, b, start):
    """start[r, c] + sum over k of a[r, k] * b[c, k]; rows that are missing are the last one."""
    out = start.astype(np.float64)
    for r in range(start.shape[0]):
        for c in range(start.shape[1]):
            for k in range(a.shape[1]):
                out[r, c] += float(a[min(r, len(a) - 1), k]) * b[min(c, len(b) - 1), k]
    return out


def deal(row, step, pitch, outside):
    """``step`` rows of ``pitch``: element i of a row goes to row i % step; what is left is ``outside``."""
    out = np.full((step, pitch), outside, row.dtype)
    for i, value in enumerate(row):
        out[i % step, i // step] = value
    return out


def band(image, first_row, rows, left, pitch):
    """Rows ``first_row`` … of each channel, ``left`` zeros before each row, zero where there is no image."""
    out = np.zeros((len(image), rows, pitch), image.dtype)
    for r in range(rows):
        for i in range(pitch):
            if 0 <= first_row + r < image.shape[1] and 0 <= i - left < image.shape[2]:
                out[:, r, i] = image[:, first_row + r, i - left]
    return out
