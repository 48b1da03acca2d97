"""The ``ablate`` command. Everything heavy is imported inside, so that --help is instant."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from ablations.study import InputError, Study, load_study, shipped_configs
from ablations.study.yamlfile import read_yaml
from ablations.workspace import Workspace, out_of_space

app = typer.Typer(
    help="Does this component matter? One YAML file asks, one command answers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _complete(incomplete: str) -> list[str]:
    names = [file.stem for file in shipped_configs().glob("*.yaml")]
    names += [str(file) for file in Path().glob("*.yaml")]
    return [name for name in sorted(names) if name.startswith(incomplete)]


StudyName = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        help="A study file, or the name of a shipped study.",
        autocompletion=_complete,
    ),
]
WorkspaceFolder = Annotated[
    Path, typer.Option("--workspace", "-w", help="The folder that holds everything a sweep makes.")
]
TextFormat = Annotated[Literal["text", "json"], typer.Option("--format", help="text or json.")]


def _console() -> Console:
    return Console(soft_wrap=False)


def _json(content: object) -> None:
    print(json.dumps(content, indent=1, allow_nan=False))


def _recorded(study: str, workspace: Path) -> tuple[Study, Workspace]:
    place = Workspace(workspace)
    if place.root.exists():
        place.check()
    return place.with_recorded_seeds(load_study(study)), place


@app.command()
def init(
    base: Annotated[Path, typer.Argument(help="A LightningCLI configuration.")],
    out: Annotated[Path, typer.Option(help="The study file to write.")] = Path("study.yaml"),
    only_list: Annotated[
        bool, typer.Option("--list", help="Print the switches that were found, write nothing.")
    ] = False,
    cli: Annotated[
        str | None, typer.Option(help="The project's own command line, as my_project.main:main.")
    ] = None,
) -> None:
    """Write a first study for a project: one arm for each of its switches."""
    from ablations.commands.init import init as make

    make(base, out, _console(), only_list=only_list, cli=cli)


@app.command()
def plan(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="STUDY",
            help="A study file, or the name of a shipped study; not needed with --pilot or --sd.",
            autocompletion=_complete,
        ),
    ] = None,
    workspace: WorkspaceFolder = Path("runs"),
    layers: Annotated[
        str | None, typer.Option(metavar="ARM", help="Show all layers of this arm.")
    ] = None,
    format: TextFormat = "text",
    pilot: Annotated[
        str | None, typer.Option(metavar="STUDY", help="Plan seeds by what this study measured.")
    ] = None,
    sd: Annotated[
        float | None, typer.Option(help="Plan seeds by this SD of one arm over seeds.")
    ] = None,
    correlation: Annotated[
        float | None, typer.Option(help="Of two arms over paired seeds; the pilot's, or 0.")
    ] = None,
    effect: Annotated[
        list[float] | None, typer.Option(help="A difference to see; may be repeated.")
    ] = None,
    arms: Annotated[
        int | None, typer.Option(min=1, help="Arms beside the baseline; the study's.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Per arm; the study's.")] = None,
    margin: Annotated[float | None, typer.Option(help="Of equivalence; the study's.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="Of one trial; the pilot's.")] = None,
) -> None:
    """Show what a study would train, or how many seeds it needs; creates nothing."""
    if pilot is None and sd is None:
        for option, value in {
            "--correlation": correlation,
            "--effect": effect or None,
            "--arms": arms,
            "--seeds": seeds,
            "--margin": margin,
            "--seconds": seconds,
        }.items():
            if value is not None:
                raise InputError("goes with --pilot or --sd", file=option)
        if study is None:
            raise InputError("name a study, or what to plan seeds by: --pilot STUDY or --sd NUMBER")
        from ablations.commands.layers import show_layers
        from ablations.commands.plan import plan as make
        from ablations.commands.plan import show_plan

        loaded, place = _recorded(study, workspace)
        if layers is not None:
            loaded.arm(layers)
        planned = make(loaded, place)
        if format == "json":
            _json(planned)
        else:
            show_plan(loaded, planned, _console())
            show_layers(loaded, planned, _console(), layers)
        return
    if layers is not None:
        raise InputError("does not go with --pilot or --sd", file="--layers")
    from ablations.commands.power import power_plan, show_power, spread_over_seeds

    before = None if pilot is None else _recorded(pilot, workspace)
    noise = spread_over_seeds(before, sd, correlation, seconds)
    asked = load_study(study) if study is not None else before and before[0]
    answer = power_plan(noise, asked, effect or (), arms, seeds, margin)
    if format == "json":
        _json(answer)
    else:
        show_power(answer, _console())


@app.command()
def run(
    study: StudyName,
    workspace: WorkspaceFolder = Path("runs"),
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trials at once; default: one per GPU or core.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Seeds per arm, instead of the study's.")
    ] = None,
    rerun: Annotated[
        list[str] | None, typer.Option(metavar="ARM", help="Train this arm's trials again.")
    ] = None,
    fail_fast: Annotated[
        bool, typer.Option(help="Launch nothing more once a trial fails.")
    ] = False,
    storage: Annotated[
        str | None, typer.Option(help="Optuna storage URL, instead of the workspace's journal.")
    ] = None,
    report: Annotated[bool, typer.Option(help="Write the report at the end.")] = True,
    max_hours: Annotated[
        float | None,
        typer.Option(min=0, help="Stop then; what runs keeps its checkpoints."),
    ] = None,
    max_trials: Annotated[
        int | None, typer.Option(min=1, help="Launch no more than this many trials.")
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Try a trial again once no batch of it ends for so long: 90, 90s, 10m.",
        ),
    ] = None,
    executor: Annotated[
        Literal["local", "ray", "slurm"], typer.Option(help="Where trials run.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster; RAY_ADDRESS by default.")
    ] = None,
    per_gpu: Annotated[int, typer.Option(min=1, help="Small trials that share a GPU.")] = 1,
    fuse: Annotated[
        str,
        typer.Option(metavar="K|auto", help="Train up to K trials as one net; auto: if it pays."),
    ] = "1",
    slurm: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="An option of sbatch, such as partition=long."),
    ] = None,
) -> None:
    """Train what waits and print the answer; running again goes on."""
    from ablations.commands.executor import Where
    from ablations.commands.fuse import told_to_fuse
    from ablations.commands.options import Options, seconds, with_seeds
    from ablations.commands.run import run as sweep

    options = Options(
        workers=workers,
        rerun=rerun or (),
        fail_fast=fail_fast,
        storage=storage,
        report=report,
        max_hours=max_hours,
        max_trials=max_trials,
        timeout=None if timeout is None else seconds(timeout),
        where=Where(executor, address, per_gpu, slurm or ()),
        fuse=told_to_fuse(fuse),
    )
    loaded = with_seeds(load_study(study), seeds)
    code = sweep(loaded, Workspace(workspace), _console(), options)
    raise typer.Exit(code)


@app.command()
def status(
    study: StudyName, workspace: WorkspaceFolder = Path("runs"), format: TextFormat = "text"
) -> None:
    """Show the state of every arm and seed."""
    from ablations.commands.tell import matrix, show_matrix

    loaded, place = _recorded(study, workspace)
    rows = matrix(loaded, place)
    if format == "json":
        _json({"study": loaded.name, "trials": rows})
    else:
        show_matrix(loaded, place, rows, _console())


@app.command()
def table(
    study: StudyName,
    workspace: WorkspaceFolder = Path("runs"),
    format: Annotated[
        Literal["text", "markdown", "latex", "html", "csv", "json"],
        typer.Option("--format", help="text, markdown, latex, html, csv or json."),
    ] = "text",
) -> None:
    """Print the delta table: each arm against the baseline, with interval and verdict."""
    from ablations.commands.tell import render_tables, show_tables

    loaded, place = _recorded(study, workspace)
    if format == "text":
        show_tables(loaded, place, _console())
    else:
        print(render_tables(loaded, place, format).rstrip("\n"))


@app.command()
def ensemble(
    study: StudyName,
    arm: Annotated[str | None, typer.Option(help="The baseline by default.")] = None,
    workspace: WorkspaceFolder = Path("runs"),
    format: TextFormat = "text",
) -> None:
    """Show the error of 1, 2, ... nets of an arm averaged; trains nothing."""
    from ablations.commands.ensemble import ensemble as make
    from ablations.commands.ensemble import show_ensemble

    loaded, place = _recorded(study, workspace)
    made = make(loaded, place, loaded.baseline if arm is None else arm)
    if format == "json":
        _json(made)
    else:
        show_ensemble(made, _console())


@app.command()
def report(
    study: Annotated[
        str | None,
        typer.Argument(metavar="[STUDY]", help="Whose report.", autocompletion=_complete),
    ] = None,
    workspace: WorkspaceFolder = Path("runs"),
    out: Annotated[Path, typer.Option(help="The folder to write into.")] = Path("reports"),
    every: Annotated[
        bool,
        typer.Option("--all", help="Every study of the workspace, beside the paper's claims."),
    ] = False,
    each: Annotated[
        bool,
        typer.Option("--each", help="With --all: also each one's report and tables, and an index."),
    ] = False,
) -> None:
    """Write the executed notebook and one HTML page that needs no network."""
    from ablations.sweep.progress import phase

    console = _console()
    if every is (study is not None):
        raise InputError("give either a study or --all", key="report")
    if each and not every:
        raise InputError("goes with --all", file="--each")
    with phase(console, "writing the report ..."):
        # What reports one study needs no pandas here: its notebook runs in a process of its own.
        if each:
            from ablations.results.index import write_folder

            written = write_folder(Workspace(workspace), out)
        elif study is None:
            from ablations.results.overview import write_overview

            written = list(write_overview(Workspace(workspace), out))
        else:
            from ablations.commands.stages import variants
            from ablations.results.notebook import write_report

            loaded, place = _recorded(study, workspace)
            reports = (write_report(one, place, out) for _, one in variants(loaded, place))
            written = [path for paths in reports for path in paths]
    for path in written:
        console.print(str(path), markup=False, highlight=False, soft_wrap=True)


@app.command()
def ui(
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="Whose comparison to point to.")
    ] = None,
    workspace: WorkspaceFolder = Path("runs"),
    port: Annotated[int, typer.Option(help="0: 5000, or a free one.")] = 0,
) -> None:
    """Serve MLflow on this machine alone, over the workspace."""
    from ablations.commands.ui import ui as serve

    loaded = None if study is None else load_study(study)
    raise typer.Exit(serve(loaded, Workspace(workspace), _console(), port))


@app.command()
def pack(
    source: Annotated[
        Literal["digits", "cifar10", "ilsvrc", "folder"], typer.Argument(help="What is packed.")
    ],
    out: Annotated[Path, typer.Option(help="The packed folder.")],
    from_: Annotated[
        Path | None, typer.Option("--from", help="Where it is, as published; digits need none.")
    ] = None,
    size: Annotated[int, typer.Option(min=1, help="Pixels a side, for ilsvrc and folder.")] = 256,
    encoding: Annotated[
        Literal["raw", "jpeg"] | None, typer.Option(help="By default what the size asks for.")
    ] = None,
    classes: Annotated[
        str, typer.Option(help="For ilsvrc and folder: names with commas, or a file of names.")
    ] = "",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads; one per core by default.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave files out that are no whole images.")
    ] = False,
) -> None:
    """Pack a data set for PackedDataModule; a packed folder is checked instead."""
    from ablations.commands.pack import pack as make

    make(
        source,
        from_,
        out,
        _console(),
        size=size,
        encoding=encoding,
        classes=classes,
        workers=workers,
        skip_bad=skip_bad,
    )


@app.command("list")
def list_studies() -> None:
    """List the studies here and those that are shipped, with their questions."""
    from rich.table import Table

    rows = Table(box=None, pad_edge=False, show_header=False)
    rows.add_column(no_wrap=True, style="bold")
    rows.add_column()
    for folder, shown in ((Path(), str), (shipped_configs(), lambda file: file.stem)):
        for file in sorted(folder.glob("*.yaml")):
            try:
                content = read_yaml(file)
            except InputError:
                continue
            if "question" in content:
                rows.add_row(shown(file), str(content["question"]))
    _console().print(rows)


def main() -> None:
    """The entry point: bad input is one line and exit code 2."""
    try:
        app()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        if not out_of_space(error):
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}no space is left on the disk", file=sys.stderr)
        sys.exit(2)
