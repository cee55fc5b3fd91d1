"""Random small networks as graphs, and networks that have one particular thing."""

from dataclasses import replace

import numpy as np

from flow.rtl.graph import FixedType, Graph, Layer

PART, CLOCK = "xcku035-fbva676-2-e", 5.0
WEIGHT, BIAS, SUM = FixedType(True, 4, 1), FixedType(True, 6, 2), FixedType(True, 22, 12)
RELU, SIGNED = FixedType(False, 4, 2, "RND_CONV", "SAT"), FixedType(True, 5, 3, "RND_CONV", "SAT")
OUTPUT = FixedType(True, 8, 4, "RND_CONV", "SAT")


class Net:
    """Builds a graph layer by layer; `at` is the layer that the next one reads."""

    def __init__(self, shape, seed=0, signed=False):
        self.rng = np.random.default_rng(seed)
        self.layers = [Layer("image", "Input", (), tuple(shape), FixedType(signed, 4, 2))]
        self.at = self.layers[0]

    def add(self, kind, shape, kept, attributes=None, weights=None, accumulator=None, name="", inputs=None):
        name = name or f"{kind.lower()}_{len(self.layers)}"
        inputs = tuple(inputs or (self.at.name,))
        self.at = Layer(name, kind, inputs, tuple(int(n) for n in shape), kept, attributes or {}, weights or {}, accumulator)
        self.layers.append(self.at)
        return self

    def weights(self, *shape):
        codes = self.rng.integers(-7, 8, shape) * (self.rng.random(shape) < 0.7)
        bias = np.ldexp(self.rng.integers(-8, 32, shape[-1]).astype(float), -4)
        return {"weight": (np.ldexp(codes.astype(float), -3), WEIGHT), "bias": (bias, BIAS)}

    def conv(self, filters, size, stride=(1, 1), pads=(0, 0, 0, 0), depthwise=False, name="", **more):
        """Convolve; `pads` are top, bottom, left, right; `filters` of a depthwise one is a multiple of the channels."""
        *image, channels = self.at.shape
        rank = len(image)
        size, stride = size[-rank:], stride[-rank:]
        around = np.array(pads).reshape(2, 2).sum(axis=1)[-rank:]
        shape = [(n + p - k) // s + 1 for n, p, k, s in zip(image, around, size, stride, strict=True)]
        attributes = dict(zip(("stride_height", "stride_width")[-rank:], stride, strict=True)) | window_pads(pads, rank) | more
        kernel = self.weights(*size, 1 if depthwise else channels, filters)
        return self.add(f"{'Depthwise' if depthwise else ''}Conv{rank}D", [*shape, filters], SUM, attributes, kernel, SUM, name)

    def zeros(self, pads):
        *image, channels = self.at.shape
        around = np.array(pads).reshape(2, 2).sum(axis=1)[-len(image) :]
        shape = [*(n + p for n, p in zip(image, around, strict=True)), channels]
        return self.add(f"ZeroPadding{len(image)}D", shape, self.at.type, window_pads(pads, len(image)))

    def pool(self, size, stride, op="max", pads=(0, 0, 0, 0)):
        *image, channels = self.at.shape
        rank = len(image)
        around = np.array(pads).reshape(2, 2).sum(axis=1)[-rank:]
        shape = [(n + p - k) // s + 1 for n, p, k, s in zip(image, around, size[-rank:], stride[-rank:], strict=True)]
        names = [f"{what}_{axis}" for what in ("pool", "stride") for axis in ("height", "width")[-rank:]]
        attributes = dict(zip(names, [*size[-rank:], *stride[-rank:]], strict=True)) | window_pads(pads, rank) | {"pool_op": op}
        return self.add(f"Pooling{rank}D", [*shape, channels], self.at.type, attributes)

    def dense(self, n, name=""):
        return self.add("Dense", (n,), SUM, {}, self.weights(self.at.shape[0], n), SUM, name)

    def act(self, kept=RELU, activation="relu", name=""):
        return self.add("Activation", self.at.shape, kept, {"activation": activation}, name=name)

    def signed(self):
        return self.act(SIGNED, "linear")

    def flat(self):
        return self.add("Reshape", (np.prod(self.at.shape),), self.at.type)

    def plus(self, other, name=""):
        return self.add("Merge", self.at.shape, SUM, {"op": "add"}, inputs=(other.name, self.at.name), name=name)

    def graph(self):
        return Graph(tuple(self.layers))

    def end(self, outputs=2):
        """Flatten, compute `outputs` words and give them the type of an output."""
        if len(self.at.shape) > 1:
            self.flat()
        return self.dense(outputs).act(OUTPUT, "linear").graph()


def window_pads(pads, rank):
    return dict(zip(("pad_top", "pad_bottom", "pad_left", "pad_right")[-2 * rank :], pads[-2 * rank :], strict=True))


def renamed(graph, names):
    """Return a graph whose layers have other names, by old name."""
    new = lambda name: names.get(name, name)  # noqa: E731
    return Graph(tuple(replace(layer, name=new(layer.name), inputs=tuple(map(new, layer.inputs))) for layer in graph.layers))


def random_network(seed):
    """Return a network of 1 to 3 blocks: convolution or depthwise convolution, pooling, or a residual sum; then flat, or an image."""
    rng = np.random.default_rng(seed)
    one = rng.random() < 0.25
    sizes = (int(rng.integers(5, 16)),) if one else tuple(int(n) for n in rng.integers(3, 10, 2))
    net = Net((*sizes, int(rng.integers(1, 4))), seed, signed=bool(rng.random() < 0.3))
    for _ in range(int(rng.integers(1, 4))):
        block(net, rng)
    if rng.random() < 0.2:
        return net.act(OUTPUT, "linear").graph() if net.at.kind != "Merge" else net.signed().graph()
    if rng.random() < 0.4:
        net.flat().dense(int(rng.integers(2, 6))).act()
    return net.end(int(rng.integers(1, 4)))


def block(net, rng):
    *image, channels = net.at.shape
    image = (1, *image)[-2:]
    kind = rng.choice(["conv", "depthwise", "pool", "residual"], p=[0.45, 0.15, 0.2, 0.2])
    if kind == "residual":
        before = net.at
        k = [int(rng.integers(1, min(n, 3) + 1)) for n in image]
        pads = ((k[0] - 1) // 2, k[0] // 2, (k[1] - 1) // 2, k[1] // 2)
        net.zeros(pads) if any(pads) and rng.random() < 0.5 else None
        own = pads if net.at is before else (0, 0, 0, 0)
        net.conv(channels, k, pads=own).signed().plus(before).act(*((RELU, "relu"), (SIGNED, "linear"))[int(rng.integers(2))])
        return
    pads = tuple(int(n) for n in rng.integers(0, 2, 4)) if rng.random() < 0.5 and kind != "pool" else (0, 0, 0, 0)
    pads = pads if len(net.at.shape) == 3 else (0, 0, *pads[2:])
    size = [int(rng.integers(1, min(n, 4) + 1)) for n in image]
    stride = [int(n) for n in rng.integers(1, 4, 2)]
    if kind == "pool":
        net.pool(size, stride)
    else:
        filters = channels * int(rng.integers(1, 3)) if kind == "depthwise" else int(rng.integers(1, 5))
        net.conv(filters, size, stride, pads, kind == "depthwise").act(*((RELU, "relu"), (SIGNED, "linear"))[int(rng.integers(2))])


def inputs(graph, count, seed=0):
    """Return (count, ...) random inputs of a graph: half of them anywhere, the others at the ends of the range."""
    rng = np.random.default_rng(seed)
    low, high = graph.port.type.range
    codes = rng.integers(low, high + 1, (count, *graph.port.shape))
    ends = rng.choice([low, high], codes.shape)
    codes[1::2] = np.where(rng.random(codes.shape) < 0.5, codes, ends)[1::2]
    return np.ldexp(codes.astype(float), -graph.port.type.fraction)


def random_reuse(elements, seed):
    """Return reuse factors for about half of the elements that can have one."""
    rng = np.random.default_rng(seed)
    can = [e for e in elements if e.reusable and e.settings["size"] > 1]
    return {e.name: int(rng.integers(2, e.settings["size"] + 1)) for e in can if rng.random() < 0.5}


def residual():
    """Return two convolutions with padding, and a sum around the second one."""
    net = Net((6, 6, 2), 1).conv(3, (3, 3), pads=(1, 1, 1, 1)).act()
    before = net.at
    return net.zeros((1, 1, 1, 1)).conv(3, (3, 3)).signed().plus(before).act().end()


def plain():
    return Net((8, 8, 1), 2).conv(4, (3, 3), pads=(1, 1, 1, 1)).act().pool((2, 2), (2, 2)).conv(4, (3, 3)).act().end()


def vector():
    return Net((12,), 3).dense(8).act().dense(6).act().end(3)


def line():
    return Net((14, 2), 4, signed=True).conv(3, (1, 4), (1, 2), (0, 0, 1, 2)).act().pool((1, 3), (1, 2)).end()


def image_out():
    """Return a convolution as the last layer; the last two rows and columns of the image are in no window."""
    return Net((7, 8, 2), 5).conv(3, (2, 3), (3, 3)).act(OUTPUT, "linear").graph()


def from_image():
    return Net((4, 5, 2), 6).end(3)


def constants():
    """Return a network with filters that are zero, one of them with a bias, and a layer that gives constants only."""
    net = Net((5, 5, 2), 7).conv(3, (2, 2))
    net.at.weights["weight"][0][..., :2] = 0
    net.at.weights["bias"][0][:] = (0, 1.25, 0.5)
    net.act()
    before = net.at
    net.conv(3, (1, 1), name="constant")
    net.at.weights["weight"][0][:] = 0
    return net.signed().plus(before).act().end()


def table():
    return Net((5, 4, 1), 8).conv(3, (2, 2)).signed().act(SIGNED, "tanh").end()


def scaled():
    """Return a network with a scale for each channel, and a leaky ReLU behind it."""
    net = Net((5, 4, 2), 9).conv(3, (3, 2)).signed()
    scale, bias = (np.broadcast_to(np.array(v), net.at.shape).copy() for v in ((0.5, -1.0, 0.75), (0.0, 0.5, -0.25)))
    net.add("ApplyAlpha", net.at.shape, FixedType(True, 10, 5), {}, {"scale": (scale, WEIGHT), "bias": (bias, BIAS)}).signed()
    net.add("ParametrizedActivation", net.at.shape, SIGNED, {"activation": "leakyrelu", "activ_param": 0.25})
    return net.end()


def odd_names():
    """Return a network whose layers are called as parts of Verilog, or as modules that other layers have."""
    net = Net((6, 6, 1), 10).conv(2, (2, 2), name="module").act(name="in")
    before = net.at
    net.conv(2, (1, 1), name="x").act(name="y").plus(before, name="sum").act(name="z")
    net.conv(2, (2, 2), name="a_x").act(name="X").conv(2, (2, 2), name="sum_a").act(name="mux").conv(2, (1, 2), name="2x.y").act(name="reg")
    return net.end()


def twice():
    """Return a network that adds a layer, and its input, to themselves."""
    net = Net((4, 4, 2), 11)
    net.plus(net.at).act().conv(2, (2, 2)).act()
    return net.plus(net.at).act().end()


def narrow():
    """Return a network whose rows have two pixels, the least that a memory of rows can be addressed by."""
    return Net((6, 2, 2), 12).conv(3, (4, 2)).act().end()


def other_rows():
    """Return a network whose image becomes one with other rows behind a convolution, and then a line."""
    net = Net((4, 6, 2), 13).conv(2, (1, 1)).act()
    net.add("Reshape", (6, 4, 2), net.at.type).conv(3, (2, 2)).act()
    return net.add("Reshape", (15, 3), net.at.type).conv(2, (1, 3)).act().end()


NAMED = {f.__name__: f for f in (
    residual, plain, vector, line, image_out, from_image, constants, table, scaled, odd_names, twice, narrow, other_rows)}  # fmt: skip
REUSED = {"plain": {"conv2d_4": 5, "dense_7": 5}, "vector": {"dense_1": 12, "dense_3": 4, "dense_5": 3}, "image_out": {"conv2d_1": 4},
          "line": {"conv1d_1": 3}, "residual": {"conv2d_4": 2, "dense_9": 54}, "odd_names": {"a_x": 3}}  # fmt: skip
SEEDS = [seed for seed in range(53) if seed != 37]  # whose layers give constants only: alkaid cannot multiply those with few bits
STORED = {"plain": {}, "residual": {}, "image_out": REUSED["image_out"], "narrow": {}}  # with rows in memories too
