"""The update rules, one array operation after the other, in float64."""

import numpy as np


def gradient(data, diff, scale, decay, regularization):
    pull = np.sign(data) if regularization == "L1" else data
    return scale * diff + decay * pull


def sgd(g, h1, h2, rate, keep, take, keep2, take2, delta):
    h1 = rate * g + keep * h1
    return h1, h1, h2


def nesterov(g, h1, h2, rate, keep, take, keep2, take2, delta):
    before = h1
    h1 = rate * g + keep * h1
    return (1 + keep) * h1 - keep * before, h1, h2


def adagrad(g, h1, h2, rate, keep, take, keep2, take2, delta):
    h1 = h1 + g**2
    return rate * g / (np.sqrt(h1) + delta), h1, h2


def rmsprop(g, h1, h2, rate, keep, take, keep2, take2, delta):
    h1 = keep * h1 + take * g**2
    return rate * g / (np.sqrt(h1) + delta), h1, h2


def adadelta(g, h1, h2, rate, keep, take, keep2, take2, delta):
    h1 = keep * h1 + take * g**2
    update = g * np.sqrt(h2 + delta) / np.sqrt(h1 + delta)
    return rate * update, h1, keep * h2 + take * update**2


def adam(g, h1, h2, rate, keep, take, keep2, take2, delta):
    h1 = keep * h1 + take * g
    h2 = keep2 * h2 + take2 * g**2
    return rate * h1 / (np.sqrt(h2) + delta), h1, h2


RULES = {"SGD": sgd, "Nesterov": nesterov, "AdaGrad": adagrad, "RMSProp": rmsprop, "AdaDelta": adadelta, "Adam": adam}
