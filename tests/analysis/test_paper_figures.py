import numpy as np
import pytest

from ablations.results.frame import Predictions
from ablations.results.paper import answered
from ablations.study import InputError, trials
from analysis import convergence, depth, predictions, results_tables
from analysis.results_tables import lines, table
from analysis.trained import class_names, open_data_of
from tests.analysis.workspaces import write_nets


def swept(tmp_path, arms, values, **study):
    return write_nets(tmp_path, arms, values, seeds=len(values["full"]), **study)


# --- convergence


def write_curves(workspace, trial, errors):
    rows = [f"{e},{e},train/top1_error,{error},1.0" for e, error in enumerate(errors)]
    file = workspace.trial_folder(trial) / "metrics.csv"
    file.write_text("\n".join(["epoch,step,name,value,time", *rows]) + "\n")


def curved(tmp_path, relu, tanh):
    arms = {
        "full": {},
        "tanh": {"model.init_args.activation": "tanh", "model.init_args.learning_rate": 0.1},
    }
    values = {"full": [1.0] * len(relu), "tanh": [1.0] * len(tanh)}
    study, workspace = swept(tmp_path, arms, values)
    for trial in trials(study):
        write_curves(workspace, trial.id, (relu if trial.arm == "full" else tanh)[trial.seed])
    read = convergence.read_curves(study, workspace, ["full", "tanh"], "train/top1_error", 25.0)
    return study, workspace, read


def test_the_ratio_of_epochs_is_known(tmp_path):
    fast = [[50, 25, 10, 5, 4, 3]] * 2 + [[75, 25, 10, 5, 4, 3]]
    slow = [[90, 80, 70, 60, 50, 25]] * 3
    study, workspace, read = curved(tmp_path, fast, slow)
    assert convergence.arms_of(study, workspace) == ["full", "tanh"]
    assert read[0].times.tolist() == [2, 2, 2]
    assert read[1].times.tolist() == [6, 6, 6]
    (ratio,) = convergence.ratios(read)
    assert ratio.ratio == pytest.approx(3)
    text, full, notes = convergence.table(study, read, 25.0)
    assert text.loc[1, "epochs / full's"].startswith("×3.00")
    assert list(text["learning rate"]) == ["0.01", "0.1"]
    assert list(text["median epochs"]) == ["2.0", "6.0"]
    assert len(full) == 6
    assert "none was tuned" in notes[1]
    (axes,) = convergence.figure(read, {"full": "k", "tanh": "b"}, "train/top1_error", 25).axes
    styles = {line.get_label(): line.get_linestyle() for line in axes.lines}
    assert styles["full (relu, rate 0.01)"] == "-"
    assert styles["tanh (tanh, rate 0.1)"] == "--"


def test_who_never_gets_there_makes_a_bound(tmp_path):
    _, _, read = curved(tmp_path, [[50, 20, 10]] * 3, [[90, 80, 70]] * 2 + [[90, 30, 20]])
    (ratio,) = convergence.ratios(read)
    assert convergence.ratio_with_interval(ratio).startswith("≥ ")
    text, _, _ = convergence.table(*curved(tmp_path / "b", [[50, 20]], [[90, 80]])[::2], 25.0)
    assert text.loc[1, "median epochs"] == "not reached"
    assert text.loc[1, "reached"] == "0 of 1"


def test_a_metric_that_nobody_logged(tmp_path):
    study, workspace, _ = curved(tmp_path, [[50, 20]], [[90, 80]])
    with pytest.raises(InputError, match="there are train/top1_error"):
        convergence.read_curves(study, workspace, ["full"], "train/loss", 1.0)


# --- depth


def test_a_control_stands_beside_its_removal(tmp_path):
    without = {"model.init_args.without": ["conv3"]}
    main = {"full": {}, "no-conv3": without, "no-lrn": {"model.init_args.lrn": False}}
    values = {"full": [30.0, 31.0, 32.5], "no-conv3": [33.0, 34.0, 35.0], "no-lrn": [30.0] * 3}
    study, workspace = swept(tmp_path, main, values)
    first = answered(study, workspace)
    (alone,) = depth.removals(first, [])
    assert (alone.layers, alone.control) == ("conv3", None)
    wide = {"full": {}, "wide": without | {"model.init_args.width": 0.06}}
    values = {"full": [30.0, 31.0, 32.5], "wide": [30.5, 31.0, 32.0]}
    other = answered(*swept(tmp_path, wide, values))
    (found,) = depth.removals(first, [other])
    assert found.removed.arm == "no-conv3"
    assert found.control.arm == "wide"
    text, full = depth.table(first, [found])
    assert list(text["removed"]) == ["nothing", "conv3"]
    assert text.loc[1, "delta"].startswith("+2.8")
    assert text.loc[1, "control's delta"].startswith("+0.0")
    assert list(full["control"]) == [False, True]
    assert depth.figure(first, [found]).axes


# --- tables 1 and 2


def net(right, ten=True, seed=0, size=40, classes=8):
    """A net that is right on so many of the first images, and near it on the rest."""
    targets = np.arange(size) % classes
    guess = np.where(np.arange(size) < right, targets, (targets + 1 + seed) % classes)
    p = np.full((size, classes), 0.01)
    p[np.arange(size), guess] += 0.5
    p[np.arange(size), targets] += 0.3
    return Predictions(targets, p, p if ten else None)


def test_errors_of_one_net_and_of_several():
    # Each is wrong on half of the images in its own way; the mean of five is always right.
    found = lines([net(20, seed=seed) for seed in range(5)], [net(30), net(40)])
    assert [line.name for line in found] == [
        "one net",
        "5 nets averaged",
        "one net, pretrained",
        "all averaged",
    ]
    assert found[0].errors["centre crop", "top-1"] == (50, 0)
    assert found[1].errors["ten crops", "top-1"][0] == 0
    assert found[2].errors["centre crop", "top-1"][0] == pytest.approx(12.5)
    assert found[0].errors["centre crop", "top-5"] == (0, 0)
    text, _ = table(found)
    assert list(text.loc[:3, "paper, top-1"]) == ["40.7", "38.1", "39.0", "36.7"]
    assert list(text.loc[:3, "paper, top-5"]) == ["18.2", "16.4", "16.6", "15.4"]
    assert list(text.loc[4:, "model"])[1:3] == ["sparse coding", "SIFT and Fisher vectors"]


def test_without_ten_crops_and_pretrained_nets():
    found = lines([net(20, ten=False)], [])
    assert set(found[0].errors) == {("centre crop", "top-1"), ("centre crop", "top-5")}
    text, _ = table(found)
    assert "ten crops, top-1" not in text
    assert list(text["nets"])[:4] == ["1", "1 of 1", "none", "none"]
    assert list(text["paper, top-1"])[1] == ""  # one net is not what the paper averaged


def test_nets_of_other_images_are_not_averaged():
    with pytest.raises(ValueError, match="same images"):
        lines([net(20), net(20, size=48)], [])


def test_pretrained_arms_are_found_by_what_they_start_from(tmp_path):
    arms = {"full": {}, "tuned": {"model.init_args.init_from": "weights.ckpt"}}
    study, workspace = swept(tmp_path, arms, {"full": [1.0], "tuned": [2.0]})
    assert results_tables.pretrained_arms(study, workspace) == ["tuned"]


# --- predictions


def test_drawn_images_are_the_same_for_every_net(tmp_path):
    arms = {"full": {}, "off": {"model.init_args.lrn": False}}
    study, workspace = swept(tmp_path, arms, {"full": [1.0], "off": [2.0]})
    ((trial, answers),) = predictions.predicting(study, workspace, "full")
    ((_, others),) = predictions.predicting(study, workspace, "off")
    data = open_data_of(workspace, trial.id)
    rows = predictions.draw_rows(data, answers, 8)
    assert len(set(rows)) == 8
    assert rows.tolist() == predictions.draw_rows(data, others, 8).tolist()
    shifted = Predictions(np.roll(answers.targets, 1), answers.probabilities)
    with pytest.raises(ValueError, match="not of these test images"):
        predictions.draw_rows(data, shifted, 8)
    drawn = predictions.figure(data, answers, rows[:5], "five")
    said = [text.get_text() for axes in drawn.axes for text in axes.texts]
    assert len(said) == 25
    best = answers.probabilities[rows[0]].max()
    assert said[0].split() == [
        data.packed.classes[int(answers.probabilities[rows[0]].argmax())],
        f"{100 * best:.0f}%",
    ]


def test_a_choice_of_classes_keeps_its_names_and_images(tmp_path):
    arms = {"full": {}, "some": {"data.init_args.classes": [5, 2]}}
    study, workspace = swept(tmp_path, arms, {"full": [1.0], "some": [2.0]})
    ((trial, answers),) = predictions.predicting(study, workspace, "some")
    data = open_data_of(workspace, trial.id)
    assert class_names(data) == ("f", "c")
    numbers = predictions.served(data)
    assert len(numbers) == 6
    assert set(data.packed.splits["test"].labels[numbers]) == {2, 5}
    right = Predictions(np.array([1, 0, 1, 0, 1, 0]), answers.probabilities[:6, :2])
    assert len(predictions.draw_rows(data, right, 4)) == 4
    said = [
        axes.get_xlabel() for axes in predictions.figure(data, right, np.array([0, 1]), "").axes
    ]
    assert said[0] == "c" and said[1] == "f"
    with pytest.raises(ValueError, match="not of these test images"):
        predictions.draw_rows(data, Predictions(1 - right.targets, right.probabilities), 4)
