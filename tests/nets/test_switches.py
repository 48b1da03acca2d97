from math import sqrt

import pytest

from ablations.nets import switches
from ablations.nets.alexnet import spec
from ablations.nets.architectures import alexnet, as_run, cuda_convnet, dan_net, stem_for
from ablations.nets.spec import (
    LRN,
    Activation,
    BatchNorm,
    Contrast,
    Dropout,
    Norm,
    Pool,
    trace,
)

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
    assert set(FULL) - set(switches.with_norm(FULL, False)) == {
        x for x in FULL if isinstance(x, LRN)
    }
    none = switches.with_dropout(FULL, 0.0)
    assert set(FULL) - set(none) == {x for x in FULL if isinstance(x, Dropout)}
    some = switches.with_dropout(FULL, 0.25)
    assert [x.probability for x in some if isinstance(x, Dropout)] == [0.25, 0.25]


def norms(net):
    return [layer for layer in net if isinstance(layer, Norm)]


AS_RUN = as_run(FULL)


def test_normalisation_is_a_factor_with_levels():
    assert switches.with_norm(AS_RUN, True) == AS_RUN
    assert [layer.name for layer in norms(AS_RUN)] == ["lrn1", "lrn2", "cnorm2"]
    for level, kind in {"channel": LRN, "within-map": LRN, "contrast": Contrast}.items():
        changed = switches.with_norm(AS_RUN, level)
        assert [(layer.name, type(layer), layer.columns) for layer in norms(changed)] == [
            ("lrn1", kind, 2),
            ("lrn2", kind, 2),
        ]
        assert [x for x in changed if x not in norms(changed)] == [
            x for x in AS_RUN if x not in norms(AS_RUN)
        ]
    assert norms(switches.with_norm(AS_RUN, "batch")) == [BatchNorm("lrn1"), BatchNorm("lrn2")]
    assert norms(switches.with_norm(AS_RUN, "channel")) == norms(AS_RUN)[:2]
    assert {x.window for x in norms(switches.with_norm(AS_RUN, "within-map"))} == {"map"}
    assert norms(switches.with_norm(AS_RUN, False)) == []


def test_a_net_without_normalisation_gets_some_where_18pct_has_it():
    net, other = cuda_convnet("80sec"), cuda_convnet("18pct")
    added = switches.with_norm(net, "within-map")
    assert names(added)[:9] == names(other)[:9]
    assert {x.window for x in norms(added)} == {"map"}
    assert switches.with_norm(net, True) == net
    with pytest.raises(ValueError, match="takes nothing out"):
        switches.with_norm(net, False)


def test_constants_go_to_the_layers_of_the_first_kind():
    constants = {"formula": "printed", "n": 9, "k": 1.0, "alpha": 0.1, "beta": 0.5, "across": True}
    lrn1, lrn2, cnorm2 = norms(switches.with_norm(AS_RUN, True, constants))
    assert lrn1 == LRN("lrn1", 9, 1.0, 0.1, 0.5, "printed", columns=1)
    assert lrn2 == LRN("lrn2", 9, 1.0, 0.1, 0.5, "printed", columns=1)
    assert cnorm2 == norms(AS_RUN)[2]
    (within, _) = norms(switches.with_norm(FULL, "within-map", {"n": 3}))
    assert (within.size, within.k, within.a) == (3, 1.0, pytest.approx(1e-3 / 9))
    with pytest.raises(ValueError, match="no local response normalisation"):
        switches.with_norm(FULL, "batch", {"k": 1.0})


def test_the_two_formulas():
    assert LRN("lrn1").a == 1e-4
    assert LRN("lrn1", formula="as-run").a == 1e-4 / 5
    assert LRN("lrn1", formula="as-run", window="map").a == 1e-4 / 25


def test_dropout_comes_before_the_last_layer_of_a_net_that_had_none():
    net = switches.with_dropout(cuda_convnet("80sec"), 0.5)
    assert names(net)[-2:] == ["drop", "fc10"]
    assert switches.with_dropout(cuda_convnet("80sec"), 0.0) == cuda_convnet("80sec")


def test_pooling_that_does_not_overlap_is_plain_already():
    assert switches.plain_pooling(dan_net(), {}) == dan_net()


def test_a_removed_layer_takes_its_activation_and_dropout_along():
    assert set(names(FULL)) - set(names(switches.without(FULL, ["conv3", "fc7"]))) == {
        "conv3",
        "relu3",
        "fc7",
        "relu7",
        "drop7",
    }


def test_an_activation_behind_pooling_goes_with_its_layer():
    gone = set(names(AS_RUN)) - set(names(switches.without(AS_RUN, ["conv5"])))
    assert gone == {"conv5", "relu5"}


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
        ({"lrn": "layer"}, "'layer' is neither a bool nor one of channel, within-map"),
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
