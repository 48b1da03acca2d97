"""The report of a study: an executed notebook, and one HTML page that asks the network nothing."""

import html
import importlib
import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat

from ablations import __version__
from ablations.study import InputError, Study, load_study
from ablations.workspace import Workspace, write_atomic

# Its functions have no types.
_nbformat: Any = nbformat
_SETUP = """\
from pathlib import Path

from IPython.display import HTML, Image

from ablations.results import figures, forest, fragments, interaction_plot, learning
from ablations.results.frame import curves, trial_frame
from ablations.results.tables import study_table
from ablations.study import load_study
from ablations.workspace import Workspace

workspace = Workspace(Path(workspace_folder))
study = workspace.with_recorded_seeds(load_study(study_file))
frame = trial_frame(study, workspace)
table = study_table(study, workspace)
colours = figures.arm_colours(study)


def show(figure, alt):
    if figure is not None:
        return Image(figures.png(figure), width=figure.get_figwidth() * 100, alt=alt)


def sections(*keys):
    found = fragments.sections_html(table, *keys)
    return HTML(found) if found else None"""

_SECTIONS: tuple[tuple[str, str, str], ...] = (
    (
        "Deltas",
        "Each arm against the baseline, trained from the same seeds.",
        "HTML(fragments.deltas_html(table))",
    ),
    (
        "",
        "",
        'show(forest.forest_plot(table, colours), "Delta of each arm with its 95% interval")',
    ),
    ("", "", 'sections("times", "effects")'),
    (
        "",
        "",
        "show(interaction_plot.interaction_plot(frame, study), "
        '"The metric at each level of two factors, lines for one of them")',
    ),
    ("", "", 'sections("interactions", "agreement")'),
    (
        "Learning curves",
        "Mean over the finished seeds, with a band from the least to the greatest. The first "
        "epochs of a long training may run off the axis.",
        "log = curves(frame, workspace)\n"
        'show(learning.learning_curves(log, study, colours), "Learning curves")',
    ),
    ("", "", 'sections("noise")'),
    (
        "What each arm changes and costs",
        "Parameters of one model, FLOPs of its forward pass on one example, a trial's seconds "
        "(median).",
        "HTML(fragments.costs_html(table))",
    ),
    (
        "Completeness",
        "What became of every trial.",
        'show(figures.completeness_matrix(frame), "State of every trial")',
    ),
    ("", "", "HTML(fragments.trials_html(frame, table, workspace))"),
    (
        "How it was run",
        "",
        "HTML(fragments.environment_html(frame, study, workspace))",
    ),
)


def write_report(study: Study, workspace: Workspace, out: Path) -> tuple[Path, Path]:
    """Write ``<study>.ipynb``, executed, and ``<study>.html`` into a folder.

    The notebook reads the workspace alone, by paths relative to itself, so that the two folders
    can be sent and executed elsewhere; its first code cell holds them as parameters.

    Returns:
        The notebook's path and the page's.

    Raises:
        InputError: The workspace holds nothing of the study, or the folder cannot be written.
    """
    folder = workspace.study_folder(study.name)
    if not folder.is_dir():
        raise InputError("the workspace has no trials of this study yet", file=study.file)
    study_file = folder / "study.yaml"
    other = study_file.is_file() and not workspace.has_results(study)
    if other and workspace.has_results(load_study(study_file)):
        told = f"what was run under this name is another study; report {study_file} instead"
        raise InputError(told, file=study.file)
    workspace.record_study(study)

    def made(workspace_folder: str) -> Any:
        return build(study, _relative(study_file, out), workspace_folder)

    return write_notebook(made, workspace, out, study.name, study.question)


def write_notebook(
    made: Callable[[str], Any], workspace: Workspace, out: Path, name: str, title: str
) -> tuple[Path, Path]:
    """Execute what is made for the workspace's folder, relative to `out`; notebook and page.

    Raises:
        InputError: The folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        notebook = made(_relative(workspace.root, out))
        threading.Thread(target=importlib.import_module, args=("nbconvert",), daemon=True).start()
        execute(notebook, out)
        written = out / f"{name}.ipynb", out / f"{name}.html"
        write_atomic(written[0], _nbformat.writes(notebook) + "\n")
        write_atomic(written[1], to_page(notebook, title))
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", file=out) from error
    return written


def build(study: Study, study_file: str, workspace_folder: str) -> Any:
    """The notebook of a study, not yet executed."""
    parameters = f"study_file = {study_file!r}\nworkspace_folder = {workspace_folder!r}"
    summary = "HTML(fragments.answer_html(table))"
    return notebook_of(study.question, parameters, _SETUP, summary, _SECTIONS)


def notebook_of(
    title: str,
    parameters: str,
    setup: str,
    summary: str,
    sections: Sequence[tuple[str, str, str]],
) -> Any:
    """A notebook: title, a cell of parameters, code, then sections of (title, text, code)."""
    cells = [
        _nbformat.v4.new_markdown_cell(f"# {_markdown(title)}"),
        _nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        _nbformat.v4.new_code_cell(setup),
        _nbformat.v4.new_code_cell(summary),
    ]
    for heading, text, code in sections:
        if heading:
            cells.append(_nbformat.v4.new_markdown_cell(f"## {heading}\n\n{text}".strip()))
        cells.append(_nbformat.v4.new_code_cell(code))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return _nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def execute(notebook: Any, folder: Path) -> None:
    """Run a notebook in place, in a kernel of this very interpreter, with `folder` as its own.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell fails.
    """
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    with tempfile.TemporaryDirectory() as runtime:
        environment = {**os.environ, "IPYTHONDIR": runtime}
        package_home = Path(__file__).parents[2]
        if package_home.name != "site-packages":
            paths = (str(package_home), os.environ.get("PYTHONPATH"))
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        manager = AsyncKernelManager(
            # Without folders to look in, python3 is the interpreter that asks.
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            kernel_name="python3",
            connection_file=str(Path(runtime) / "kernel.json"),
        )
        if os.name == "posix" and len(runtime) < 80:
            manager.transport, manager.ip = "ipc", str(Path(runtime) / "kernel")
        client = NotebookClient(
            notebook,
            km=manager,
            timeout=1800,
            resources={"metadata": {"path": str(folder)}},
            record_timing=False,
            # All is said by then, and a kernel takes long to take its modules apart.
            shutdown_kernel="immediate",
        )
        client.execute(env=environment, cleanup_kc=True)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]


def to_page(notebook: Any, title: str) -> str:
    """A notebook's text and outputs, without its code, as one page with nothing to load."""
    import nbconvert

    untyped: Any = nbconvert
    exporter = untyped.HTMLExporter(
        template_name="basic",
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    body, _ = exporter.from_notebook_node(notebook)
    return page(body, title)


def page(body: str, title: str) -> str:
    """HTML as one page in the style of the reports, with nothing to load."""
    style = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    made = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, ablations {__version__}"
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
<footer>{made}</footer>
</main>
</body>
</html>
"""


def _relative(path: Path, start: Path) -> str:
    try:
        return Path(os.path.relpath(path, start)).as_posix()
    except ValueError:  # another drive
        return path.resolve().as_posix()


def _markdown(text: str) -> str:
    for special in "\\`*_[]<>$#":
        text = text.replace(special, f"\\{special}")
    return text
