"""Steps of CIFAR-10's layers in PyTorch, for the benchmark that calls this to show its own beside them.

usage: steps.py FOLDER LAYER THREADS REPETITIONS

FOLDER holds what both begin with, as plain little-endian float32 numbers: `samples` (channels last), and of each layer `weight-N`
(channels, row, column, input channel) and `bias-N`. Each line of the answer is a form, a precision, the median and the best time of a step
in milliseconds, and the loss of the first step:

- `official`: the step as the paper's code has it: pairs are made and padded, positive and negative ones are mapped in two passes, and
  autograd goes through all of it.
- `fused`: the best that a user of PyTorch could write by hand: one map for each sample, of which z of all its pairs follows; channels last,
  `torch.compile`, fused AdamW.
"""

import pathlib
import statistics
import sys
import time

import torch
import torch.nn.functional as F

BATCH, SHIFT = 100, 7
THETA_POS, THETA_NEG, LAMBDA = 5.0, 9.0, 7e-4
RATE, DECAY = 1e-3, 1e-4
EPSILON = 1e-10
# side, inputs, channels, kernel
SHAPES = {1: (32, 3, 96, 5), 2: (16, 96, 384, 3), 3: (8, 384, 1536, 3)}


def numbers(folder, name, *shape):
    return torch.frombuffer(bytearray((folder / name).read_bytes()), dtype=torch.float32).reshape(shape)


def parameters(folder, layer):
    _, inputs, channels, kernel = SHAPES[layer]
    weight = numbers(folder, f"weight-{layer}", channels, kernel, kernel, inputs).permute(0, 3, 1, 2)
    return weight.contiguous(), numbers(folder, f"bias-{layer}", channels)


def samples(folder, layer):
    side, inputs, _, _ = SHAPES[layer]
    return numbers(folder, "samples", BATCH, side, side, inputs).permute(0, 3, 1, 2).contiguous()


def standardize(x):
    deviation, mean = torch.std_mean(x, dim=(1, 2, 3), keepdim=True)
    return (x - mean) / (EPSILON + deviation)


def pad(x, kernel):
    return F.pad(x, [kernel // 2] * 4, mode="reflect")


def triangle(z):
    return F.max_pool2d(F.relu(z - z.mean(1, keepdim=True)), 4, 2, 1, ceil_mode=True)


def loss_of(positive, negative, softplus):
    """Of the goodness of all positive pairs and of all negative ones: (pairs, height, width)."""
    norms = positive.flatten(1).norm(dim=1)
    return softplus(THETA_POS - positive).mean() + softplus(negative - THETA_NEG).mean() + LAMBDA * norms.mean()


def naive_softplus(u):
    return torch.log(1 + torch.exp(u))


class Official:
    def __init__(self, folder, layer, _bf16):
        self.layer = layer
        self.below = parameters(folder, 1) if layer == 2 else None
        self.weight, self.bias = (torch.nn.Parameter(tensor) for tensor in parameters(folder, layer))
        self.optimizer = torch.optim.AdamW([self.weight, self.bias], lr=RATE, weight_decay=DECAY)

    def made(self, first, second, weight, bias):
        """z of pairs that are made."""
        pair = standardize(pad(torch.cat((first, second), 1), weight.shape[2]))
        return sum(F.conv2d(half, weight, bias) for half in pair.chunk(2, 1))

    def z(self, first, second):
        if self.below is None:
            return self.made(first, second, self.weight, self.bias)
        with torch.no_grad():
            pair = triangle(self.made(first, second, *self.below))
        return F.conv2d(standardize(pad(pair, self.weight.shape[2])), self.weight, self.bias)

    def step(self, x):
        x = standardize(x)
        goodness = [F.relu(self.z(x, other)).square().mean(1) for other in (x, x.roll(-SHIFT, 0))]
        loss = loss_of(*goodness, naive_softplus)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Fused:
    def __init__(self, folder, layer, bf16):
        self.layer = layer
        self.bf16 = bf16
        self.below = parameters(folder, 1) if layer == 2 else None
        self.weight, self.bias = (torch.nn.Parameter(tensor) for tensor in parameters(folder, layer))
        self.weight.data = self.weight.data.contiguous(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW([self.weight, self.bias], lr=RATE, weight_decay=DECAY, fused=True)
        self.loss = torch.compile(self.loss_of_batch)

    def conv(self, x, weight):
        if self.bf16:
            return F.conv2d(x.bfloat16(), weight.bfloat16()).float()
        return F.conv2d(x, weight)

    def made(self, x, weight, bias):
        """z of the positive and of the negative pairs: (U_i + U_j - 2 m w) / s + 2 b."""
        x = pad(standardize(x), weight.shape[2]).contiguous(memory_format=torch.channels_last)
        u = self.conv(x, weight)
        w = weight.sum((1, 2, 3))[None, :, None, None]
        total, squares = x.sum((1, 2, 3)), x.square().sum((1, 2, 3))
        count = 2 * x[0].numel()

        def z(other_u, other_total, other_squares):
            mean = (total + other_total) / count
            deviation = ((squares + other_squares - count * mean.square()).clamp(min=0) / (count - 1)).sqrt()
            scale, mean = (1 / (EPSILON + deviation))[:, None, None, None], mean[:, None, None, None]
            return (u + other_u - 2 * mean * w) * scale + 2 * bias[:, None, None]

        shifted = (each.roll(-SHIFT, 0) for each in (u, total, squares))
        return z(u, total, squares), z(*shifted)

    def loss_of_batch(self, x):
        if self.below is None:
            positive, negative = self.made(x, self.weight, self.bias)
        else:
            with torch.no_grad():
                pairs = torch.cat([triangle(z) for z in self.made(x, *self.below)])
                pairs = standardize(pad(pairs, self.weight.shape[2]))
                pairs = pairs.contiguous(memory_format=torch.channels_last)
            z = self.conv(pairs, self.weight) + self.bias[:, None, None]
            positive, negative = z[:BATCH], z[BATCH:]
        return loss_of(*(F.relu(z).square().mean(1) for z in (positive, negative)), F.softplus)

    def step(self, x):
        loss = self.loss(x)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def main():
    folder, layer, threads, repetitions = pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:])
    torch.set_num_threads(threads)
    x = samples(folder, 1 if layer == 2 else layer)
    for name, form, bf16 in (("official", Official, False), ("fused", Fused, False), ("fused", Fused, True)):
        stage = form(folder, layer, bf16)
        batch = x.contiguous(memory_format=torch.channels_last) if form is Fused else x
        first = stage.step(batch)
        stage.step(batch)
        times = []
        for _ in range(max(2, repetitions // 5) if form is Official else repetitions):
            begun = time.perf_counter()
            stage.step(batch)
            times.append(1e3 * (time.perf_counter() - begun))
        precision = "bf16" if bf16 else "f32"
        print(name, precision, statistics.median(times), min(times), first, flush=True)


main()
