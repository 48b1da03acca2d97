"""What all these commands have in common: options, errors, and the one line that they end with."""

import html
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from matplotlib.figure import Figure

from ablations.results.figures import png, svg
from ablations.results.notebook import page
from ablations.results.paper import words_html
from ablations.study import InputError, Study
from ablations.workspace import write_atomic

WorkspaceFolder = Annotated[
    Path, typer.Option("--workspace", "-w", help="The folder that holds everything of a sweep.")
]
Out = Annotated[Path, typer.Option(help="The folder to write into.")]
StudyOption = Annotated[
    str | None, typer.Option("--study", help="Which study of the workspace, where several fit.")
]


def run(command: Callable[..., Sequence[Path]]) -> None:
    """Run a command whose options are its function's, and say what it wrote.

    Bad input is one line and exit code 2.
    """

    def told(written: Sequence[Path], **_: object) -> None:
        first = written[0]
        print(f"wrote {first}" + "".join(f", {path.name}" for path in written[1:]))

    app = typer.Typer(
        result_callback=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command()(command)
    try:
        written = app(standalone_mode=False)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    if isinstance(written, list | tuple):
        told(written)


def write_table(
    out: Path,
    name: str,
    title: str,
    table: pd.DataFrame,
    full: pd.DataFrame,
    notes: Sequence[str] = (),
) -> list[Path]:
    """A table as Markdown, LaTeX and HTML for people, and as CSV at full precision for programs.

    Raises:
        InputError: The folder cannot be written.
    """
    texts = {
        "md": _markdown(title, table, notes),
        "tex": _latex(title, table, notes),
        "html": page(_html(title, table, notes), title),
        "csv": full.to_csv(index=False, lineterminator="\n"),
    }
    return _written(out, {f"{name}.{kind}": text for kind, text in texts.items()})


def write_figure(out: Path, name: str, figure: Figure) -> list[Path]:
    """A figure as PNG and SVG.

    Raises:
        InputError: The folder cannot be written.
    """
    return _written(out, {f"{name}.png": png(figure), f"{name}.svg": svg(figure)})


def _written(out: Path, contents: Mapping[str, str | bytes]) -> list[Path]:
    try:
        for name, content in contents.items():
            write_atomic(out / name, content)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", file=out) from error
    return [out / name for name in contents]


def _markdown(title: str, table: pd.DataFrame, notes: Sequence[str]) -> str:
    def line(cells: Iterable[object]) -> str:
        return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"

    rows = [line(row) for row in table.itertuples(index=False)]
    head = [line(table.columns), "|" + ":--|" * len(table.columns)]
    listed = [f"- {note}" for note in notes]
    return "\n".join([f"# {title}", "", *head, *rows, "", *listed]).rstrip() + "\n"


def _latex(title: str, table: pd.DataFrame, notes: Sequence[str]) -> str:
    layout = "l" * len(table.columns)
    body = table.to_latex(index=False, escape=True, column_format=layout)
    comments = "".join(f"% {note}\n" for note in notes)
    needs = "% needs \\usepackage{booktabs,graphicx}"
    return f"% {title}\n{needs}\n\\resizebox{{\\linewidth}}{{!}}{{%\n{body}}}\n{comments}"


def _html(title: str, table: pd.DataFrame, notes: Sequence[str]) -> str:
    made = words_html(table)
    listed = "".join(f"<li>{html.escape(note)}</li>\n" for note in notes)
    wide = "<style>main { max-width: none; }</style>"
    return f'{wide}\n<h1>{html.escape(title)}</h1>\n{made}\n<ul class="notes">\n{listed}</ul>'


def the_one(found: Sequence[Study], chosen: str | None, what: str, remedy: str) -> Study:
    """The study that is asked for, or the only one that fits.

    Args:
        found: Studies that have what is needed.
        chosen: A name.
        what: What is needed, as in "kept weights".
        remedy: What to run first where there is none.

    Raises:
        InputError: None fits, or several do.
    """
    fitting = [study for study in found if chosen in (None, study.name)]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        whose = f'study "{chosen}"' if chosen else "no study of the workspace"
        raise InputError(f"{whose} {what}; {remedy}")
    names = ", ".join(study.name for study in fitting)
    raise InputError(f"several studies {what}: choose one with --study ({names})")
