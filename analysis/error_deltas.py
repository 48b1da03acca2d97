"""Every difference that the paper reports, with others' and ours beside it, as one table.

Paper rounded and as the author's lab notes have it; independent single runs; ours with its 95%
interval, verdict, data and budget. A claim that no study of the workspace asks is "not run".
"""

from collections.abc import Sequence
from pathlib import Path

from ablations.results import paper
from ablations.workspace import Workspace
from analysis.command import Out, WorkspaceFolder, run, write_table


def error_deltas(
    workspace: WorkspaceFolder = Path("runs"), out: Out = Path("reports")
) -> Sequence[Path]:
    """Write the table of all the paper's deltas over every study of the workspace."""
    place = Workspace(workspace)
    answers = [paper.answered(study, place) for study in paper.studies_in(place)]
    rows = paper.claim_rows(answers)
    title = "The paper's differences, others' and ours"
    return write_table(
        out, "error_deltas", title, paper.shown(rows), paper.numbers(rows), paper.NOTES
    )


if __name__ == "__main__":
    run(error_deltas)
