import pytest

from ablations.nets.alexnet import spec
from ablations.nets.architectures import alexnet, stem_for
from ablations.nets.spec import Conv, Linear, parameters, trace

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
    as_run = weights(spec(1000, 224, init="as-run")).values()
    assert [row.layer.std for row in as_run] == [0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01]


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
