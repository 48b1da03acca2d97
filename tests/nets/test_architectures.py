import pytest

from ablations.nets.alexnet import spec
from ablations.nets.architectures import TRAINING, alexnet, cuda_convnet, dan_net, stem_for
from ablations.nets.spec import LRN, Conv, Linear, Pool, parameters, trace

IMAGE = (3, 224, 224)


def weights(net, shape=IMAGE):
    rows = trace(net, shape)
    return {row.layer.name: row for row in rows if isinstance(row.layer, Conv | Linear)}


# section 3.5 of the paper, biases counted
@pytest.mark.parametrize(
    ("name", "gives", "parameters"),
    [
        ("conv1", (96, 55, 55), 34_944),
        ("conv2", (256, 27, 27), 307_456),
        ("conv3", (384, 13, 13), 885_120),
        ("conv4", (384, 13, 13), 663_936),
        ("conv5", (256, 13, 13), 442_624),
        ("fc6", (4096,), 37_752_832),
        ("fc7", (4096,), 16_781_312),
        ("fc8", (1000,), 4_097_000),
    ],
)
def test_printed_layers(name, gives, parameters):
    row = weights(alexnet(1000, stem_for(224)))[name]
    assert (row.gives, row.parameters) == (gives, parameters)


@pytest.mark.parametrize(
    ("connectivity", "count"),
    [
        ("two-column", 60_965_224),
        ("dense", 62_378_344),
        ("half", 59_798_312),
        # conv3, fc6 and fc7 lose the half of their weights that crosses columns
        ("independent", 60_965_224 - 384 * 9 * 128 - 4096 * (4608 + 2048)),
    ],
)
def test_total_parameters(connectivity, count):
    assert parameters(spec(1000, 224, connectivity=connectivity), IMAGE) == count


def test_half_keeps_the_last_convolution_and_the_fully_connected_layers():
    rows = weights(spec(1000, 224, connectivity="half"))
    widths = [row.gives[0] for row in rows.values()]
    assert widths == [48, 128, 192, 192, 256, 4096, 4096, 1000]


def test_printed_initial_values():
    layers = [row.layer for row in weights(spec(1000, 224)).values()]
    assert [layer.bias for layer in layers] == [0, 1, 0, 1, 1, 1, 1, 0]
    assert {layer.std for layer in layers} == {0.01}


def test_a_crop_of_227_meets_the_same_maps_as_224():
    maps = [row.gives for row in trace(spec(1000, 227), (3, 227, 227))]
    assert maps == [row.gives for row in trace(spec(1000, 224), IMAGE)]


def test_multiplications_of_the_printed_net():
    macs = {name: row.macs for name, row in weights(spec(1000, 224)).items()}
    assert macs["conv1"] == 96 * 55 * 55 * 363
    assert macs["conv2"] == 256 * 27 * 27 * 1200
    assert sum(macs.values()) == 724_406_816


@pytest.mark.parametrize(
    ("size", "first", "last"), [(8, 8, 1), (28, 28, 3), (32, 32, 4), (64, 32, 4), (128, 30, 3)]
)
def test_small_images_meet_a_smaller_stem(size, first, last):
    rows = {row.layer.name: row for row in trace(spec(10, size), (3, size, size))}
    assert rows["conv1"].gives[1:] == (first, first)
    assert rows["pool5"].gives[1:] == (last, last)


def names(net):
    return [layer.name for layer in net]


def test_the_net_as_run_is_that_of_the_authors_layer_files():
    printed, net = spec(1000, 224), spec(1000, 224, recipe="as-run")
    assert names(net)[:9] == [
        "conv1",
        "lrn1",
        "pool1",
        "relu1",
        "conv2",
        "relu2",
        "lrn2",
        "cnorm2",
        "pool2",
    ]
    assert names(net)[13:17] == ["conv5", "pool5", "relu5", "fc6"]
    assert set(names(net)) - set(names(printed)) == {"cnorm2"}
    rows = weights(net).values()
    assert [row.layer.std for row in rows] == [0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01]
    assert [row.layer.bias for row in rows] == [0, 1, 0, 1, 1, 1, 1, 0]
    (learning,) = {row.layer.learning for row in rows}
    assert (learning.rate, learning.bias_rate, learning.decay, learning.bias_decay) == (1, 2, 1, 0)
    assert not learning.bias_drops
    norms = [(x.size, x.k, x.a, x.beta, x.window, x.columns) for x in net if isinstance(x, LRN)]
    channel = (5, 2.0, pytest.approx(1e-4 / 5), 0.75, "channels", 2)
    assert norms == [channel, channel, (5, 1.0, pytest.approx(1e-3 / 25), 0.75, "map", 2)]
    assert parameters(net, IMAGE) == 60_965_224


@pytest.mark.parametrize("recipe", ["printed", "as-run"])
def test_the_six_conv_net_reads_both_columns_after_the_last_pooling(recipe):
    net = spec(1000, 224, sixth_conv=True, recipe=recipe)
    rows = weights(net)
    assert (rows["conv6"].gives, rows["conv6"].parameters) == ((256, 6, 6), 590_080)
    assert parameters(net, IMAGE) == 60_965_224 + 590_080
    assert rows["conv6"].layer.bias == 1
    assert names(net)[-9:-7] == ["conv6", "relu_conv6"]


# Figure 2 prints the neurons of each layer; conv1's 253,440 are not the 55x55x96 of its maps
def test_neurons_are_those_of_the_paper_but_for_conv1():
    rows = trace(spec(1000, 224), IMAGE)
    counted = [row.neurons for row in rows if row.neurons]
    assert counted == [290_400, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]
    assert sum(counted) == 659_272  # "650,000 neurons"
    assert sum(counted) - 290_400 + 253_440 == 622_312
    assert 224 * 224 * 3 == 150_528  # the printed input, of images that give no whole 55


def test_the_printed_sizes_ask_for_227_pixels():
    with_224 = [Conv("conv1", 96, 11, stride=4)]
    assert trace(with_224, IMAGE)[0].gives == (96, 54, 54)
    assert trace(with_224, (3, 227, 227))[0].gives == (96, 55, 55)


def test_a_layer_table_adds_up():
    rows = trace(spec(1000, 224), IMAGE)
    assert sum(row.parameters for row in rows) == 60_965_224
    assert sum(row.flops for row in rows) == 2 * 724_406_816
    pool1 = next(row for row in rows if row.name == "pool1")
    assert (pool1.gives, pool1.parameters, pool1.flops, pool1.neurons) == ((96, 27, 27), 0, 0, 0)


# conv, pool and local layers of cuda-convnet's files; biases counted
@pytest.mark.parametrize(
    ("name", "counts", "total"),
    [
        ("80sec", [2_432, 25_632, 51_264, 65_600, 650], 145_578),
        ("fig1", [2_432, 25_632, 51_264, 65_600, 650], 145_578),
        ("18pct", [2_432, 25_632, 51_264, 10_250], 89_578),
        ("13pct", [4_864, 102_464, 664_704, 332_928, 11_530], 1_116_490),
        ("11pct", [4_864, 102_464, 1_329_408, 664_704, 11_530], 2_112_970),
    ],
)
def test_parameters_of_cuda_convnets_nets(name, counts, total):
    size = TRAINING[name].image_size
    rows = weights(cuda_convnet(name), (3, size, size)).values()
    assert [row.parameters for row in rows] == counts
    assert sum(counts) == total


@pytest.mark.parametrize(
    ("name", "maps", "modes"),
    [
        ("80sec", [16, 8, 4], ["max", "average", "average"]),
        ("18pct", [16, 8, 4], ["max", "average", "average"]),
        ("13pct", [12, 6], ["max", "max"]),
        ("11pct", [12, 6], ["max", "max"]),
    ],
)
def test_pooling_of_cuda_convnets_nets_hangs_over(name, maps, modes):
    size = TRAINING[name].image_size
    pools = [r for r in trace(cuda_convnet(name), (3, size, size)) if isinstance(r.layer, Pool)]
    assert [row.gives[1] for row in pools] == maps
    assert [row.layer.mode for row in pools] == modes


@pytest.mark.parametrize(
    ("name", "stds", "decays"),
    [
        ("80sec", [1e-4, 0.01, 0.01, 0.1, 0.1], [0.004, 0.004, 0.004, 0.03, 0.03]),
        ("fig1", [1e-4, 0.01, 0.01, 0.1, 0.1], [0, 0, 0, 0, 0]),
        ("18pct", [1e-4, 0.01, 0.01, 0.01], [0.004, 0.004, 0.004, 1]),
        ("13pct", [1e-4, 0.01, 0.04, 0.04, 0.01], [0, 0, 0.004, 0.004, 0.004]),
        ("11pct", [1e-4, 0.01, 0.04, 0.04, 0.01], [0, 0, 0.004, 0.004, 0.01]),
    ],
)
def test_recipes_of_cuda_convnets_nets(name, stds, decays):
    layers = [x for x in cuda_convnet(name) if isinstance(x, Conv | Linear)]
    assert [layer.std for layer in layers] == stds
    assert [0.004 * layer.learning.decay for layer in layers] == pytest.approx(decays)
    assert {(x.learning.bias_rate, x.learning.bias_decay, x.bias) for x in layers} == {(2, 0, 0)}


@pytest.mark.parametrize(
    ("name", "order", "norm"),
    [
        ("11pct", ["pool1", "lrn1", "conv2", "relu2", "lrn2"], (9, 1.0, 1e-3 / 9, "channels")),
        ("18pct", ["pool1", "relu1", "lrn1", "conv2", "relu2"], (3, 1.0, 5e-5 / 9, "map")),
    ],
)
def test_normalisation_of_cuda_convnets_nets(name, order, norm):
    net = cuda_convnet(name)
    start = names(net).index("pool1")
    assert names(net)[start : start + 5] == order
    size, k, a, window = norm
    assert [(x.size, x.k, x.a, x.beta, x.window) for x in net if isinstance(x, LRN)] == [
        (size, k, pytest.approx(a), 0.75, window)
    ] * 2


def test_schedules_of_cuda_convnets_nets():
    schedules = {name: (t.epochs, t.milestones) for name, t in TRAINING.items()}
    assert schedules == {
        "80sec": (10, (8,)),
        "fig1": (10, ()),
        "18pct": (140, (120, 130)),
        "13pct": (160, (140, 150)),
        "11pct": (520, (500, 510)),
    }


def test_dan_net():
    rows = trace(dan_net(), (3, 32, 32))
    assert sum(row.parameters for row in rows) == 244_410
    maps = [row.gives[1] for row in rows if isinstance(row.layer, Conv | Pool)]
    assert maps == [30, 10, 8, 4, 2, 1]
    assert [row.gives[0] for row in rows if isinstance(row.layer, Linear)] == [300, 100, 10]
