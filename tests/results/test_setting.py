import pytest
import yaml

from ablations.results.fragments import environment_html
from ablations.results.frame import trial_frame
from ablations.results.setting import setting_of
from tests.results.fabricate import fabricate, write_study


def test_data_budget_and_precision_stand_in_the_report(tmp_path):
    study = write_study(tmp_path, ["full", "off"])
    values = {"full": [3.0] * 5 + ["failed"], "off": [4.0] * 6}
    workspace = fabricate(study, tmp_path / "runs", values, epochs=8)
    frame = trial_frame(study, workspace)
    bare = setting_of(study, frame, workspace)
    assert bare.data == "own data"
    assert bare.budget == "6 seeds, 8 epochs, 4.2 s a trial, cpu"
    config = {
        "trainer": {"precision": "bf16-mixed"},
        "data": {"class_path": "a.D", "init_args": {"path": "x/cifar10-jpeg", "limit": 10000}},
    }
    for trial in frame["trial"]:
        file = workspace.trial_folder(trial) / "config.yaml"
        file.write_text(yaml.safe_dump(config))
    told = setting_of(study, frame, workspace)
    assert told.data == "CIFAR-10 (JPEG), 10,000 training images"
    assert told.budget == f"{bare.budget}, bf16-mixed"
    page = environment_html(frame, study, workspace)
    for name, value in (("data", told.data), ("budget", told.budget)):
        assert f'<td class="words">{name}</td><td class="words">{value}</td>' in page


@pytest.mark.parametrize("limit", ["10%", 0.1, [3, 4], True, {"train": 5}])
def test_a_limit_of_another_kind_is_left_out(tmp_path, limit):
    study = write_study(tmp_path, ["full", "off"])
    workspace = fabricate(study, tmp_path / "runs", {"full": [3.0] * 6, "off": [4.0] * 6})
    frame = trial_frame(study, workspace)
    config = {"data": {"class_path": "theirs.Words", "init_args": {"limit": limit}}}
    for trial in frame["trial"]:
        file = workspace.trial_folder(trial) / "config.yaml"
        file.write_text(yaml.safe_dump(config))
    assert setting_of(study, frame, workspace).data == "Words"
