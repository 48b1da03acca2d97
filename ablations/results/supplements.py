"""All that stands beside the delta table of a study."""

import pandas as pd

from ablations.results.agreement import agreement_section
from ablations.results.examples import noise_section
from ablations.results.interactions import effect_sections
from ablations.results.rows import DeltaTable
from ablations.results.sections import Section
from ablations.results.times import times_section
from ablations.results.wording import digits_for
from ablations.study import Study
from ablations.workspace import Workspace


def supplements(
    study: Study, workspace: Workspace, frame: pd.DataFrame, table: DeltaTable
) -> tuple[Section, ...]:
    """Times, effects, the paper's figures and the sources of noise, as far as a study has them."""
    digits = digits_for(table)
    found = (
        times_section(study, frame, table),
        *effect_sections(study, frame, digits),
        agreement_section(table, study, frame, digits),
        noise_section(study, workspace, digits),
    )
    return tuple(section for section in found if section is not None)
