"""What is asked: study files, arms, designs and trials. Pure Python."""

from ablations.study.design import trials, wanted_trials
from ablations.study.errors import InputError
from ablations.study.schema import Arm, Metric, SeedPlan, Study, Trial, Tune
from ablations.study.studyfile import load_study, shipped_configs

__all__ = [
    "Arm",
    "InputError",
    "Metric",
    "SeedPlan",
    "Study",
    "Trial",
    "Tune",
    "load_study",
    "shipped_configs",
    "trials",
    "wanted_trials",
]
