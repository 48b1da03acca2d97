from math import sqrt

import pytest

from ablations.nets import switches
from ablations.nets.alexnet import spec
from ablations.nets.architectures import alexnet, stem_for
from ablations.nets.spec import LRN, Activation, Dropout, Pool, trace

FULL = alexnet(1000, stem_for(224))


def names(net):
    return [layer.name for layer in net]


def pooled(net, size):
    return [row.gives[1:] for row in trace(net, (3, size, size)) if isinstance(row.layer, Pool)]


def test_plain_pooling_at_full_size_is_the_authors_net_147():
    rows = {row.layer.name: row for row in trace(spec(1000, 224, pooling="plain"), (3, 224, 224))}
    pools = [row.layer for row in rows.values() if isinstance(row.layer, Pool)]
    assert {(pool.kernel, pool.stride) for pool in pools} == {(2, 2)}
    assert (rows["conv2"].layer.padding, rows["conv5"].layer.padding) == (1, 0)
    assert [rows[f"pool{i}"].gives[1] for i in (1, 2, 5)] == [28, 13, 6]


@pytest.mark.parametrize("size", [*range(8, 60), 64, 96, 128, 200, 224, 225, 226, 227, 256, 300])
def test_plain_pooling_keeps_the_map_sizes(size):
    overlapping = pooled(spec(10, size), size)
    assert pooled(spec(10, size, pooling="plain"), size)[1:] == overlapping[1:]


def test_activation_lrn_and_dropout_change_nothing_else():
    tanh = switches.with_activation(FULL, "tanh")
    assert {layer.function for layer in tanh if isinstance(layer, Activation)} == {"tanh"}
    assert names(tanh) == names(FULL)
    assert set(FULL) - set(switches.without_lrn(FULL)) == {x for x in FULL if isinstance(x, LRN)}
    none = switches.with_dropout(FULL, 0.0)
    assert set(FULL) - set(none) == {x for x in FULL if isinstance(x, Dropout)}
    some = switches.with_dropout(FULL, 0.25)
    assert [x.probability for x in some if isinstance(x, Dropout)] == [0.25, 0.25]


def test_a_removed_layer_takes_its_activation_and_dropout_along():
    assert set(names(FULL)) - set(names(switches.without(FULL, ["conv3", "fc7"]))) == {
        "conv3",
        "relu3",
        "fc7",
        "relu7",
        "drop7",
    }


def test_a_removed_layer_leaves_normalisation_and_pooling():
    assert set(names(FULL)) - set(names(switches.without(FULL, ["conv2"]))) == {"conv2", "relu2"}
    assert set(names(FULL)) - set(names(switches.without(FULL, ["lrn1"]))) == {"lrn1"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("conv6", r'conv6 is no layer of this net \(did you mean "conv5"\?\)'),
        ("fc8", "fc8 is the output layer"),
        ("head", "head is no layer of this net$"),
    ],
)
def test_only_hidden_layers_of_the_net_can_be_removed(name, message):
    with pytest.raises(ValueError, match=message):
        switches.without(FULL, [name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dropout": 1.0}, "dropout"),
        ({"width": 0.0}, "width"),
        ({"activation": "gelu"}, "'gelu' is none of relu, tanh, sigmoid"),
        ({"connectivity": "sparse"}, "'sparse' is none of two-column"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        spec(10, 32, **arguments)


def test_width_keeps_the_columns_equal_and_the_output_whole():
    for width in (0.01, 0.0625, 0.1, 1 / 3):
        rows = trace(spec(10, 32, width=width), (3, 32, 32))
        assert all(row.gives[0] % 2 == 0 for row in rows)
        assert rows[-1].gives == (10,)
    eighth = {row.layer.name: row.gives[0] for row in trace(spec(10, 8, 1, 0.125), (1, 8, 8))}
    assert [eighth[f"conv{i}"] for i in range(1, 6)] == [12, 32, 48, 48, 32]
    assert eighth["fc6"] == eighth["fc7"] == 512


def test_initial_weights_grow_as_fan_in_shrinks():
    quarter = {layer.name: layer for layer in spec(10, 224, width=0.25)}
    assert quarter["conv1"].std == 0.01
    assert quarter["conv4"].std == pytest.approx(0.02)
    digits = {layer.name: layer for layer in spec(10, 8, channels=1)}
    assert digits["conv1"].std == pytest.approx(0.01 * sqrt(363 / 9))
    # an ablation that changes no fan-in changes no SD
    assert {x.std for x in spec(10, 224, connectivity="dense") if hasattr(x, "std")} == {0.01}
