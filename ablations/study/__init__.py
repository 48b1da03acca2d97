"""What is asked: study files, arms, designs and trials. Pure Python."""

from ablations.study.design import source_trial, trials, wanted_trials
from ablations.study.errors import InputError
from ablations.study.schema import Arm, Metric, SeedPlan, Source, Study, Trial, Tune
from ablations.study.studyfile import load_study, shipped_configs

__all__ = [
    "Arm",
    "InputError",
    "Metric",
    "SeedPlan",
    "Source",
    "Study",
    "Trial",
    "Tune",
    "load_study",
    "shipped_configs",
    "source_trial",
    "trials",
    "wanted_trials",
]
