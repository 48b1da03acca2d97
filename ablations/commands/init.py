"""``ablate init``: a first study for somebody's project, one arm for each of its switches."""

import os
import re
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablations.commands.switches import Candidate, Switch, find_switches, named, shown
from ablations.study import InputError, shipped_configs
from ablations.study.errors import nearest
from ablations.study.fields import parse_metric
from ablations.study.yamlfile import expand, read_yaml
from ablations.sweep.build import Built, Recipe, build
from ablations.sweep.complaints import import_class
from ablations.sweep.differences import changes
from ablations.sweep.job import Order
from ablations.sweep.process import output_to
from ablations.sweep.progress import phase
from ablations.sweep.rehearsal import rehearse
from ablations.workspace import write_atomic

SEEDS = 6
_BETTER = {"min": "lower", "max": "higher"}
_KINDS = (
    "true or false, a Literal or Enum, or a number above 0 called dropout, weight_decay, "
    "label_smoothing, mixup, noise or the like"
)


def init(base: Path, out: Path, console: Console, *, only_list: bool, cli: str | None) -> None:
    """Write a study with one arm for each switch of a base, or list the switches.

    Args:
        base: A LightningCLI configuration: a path, or the name of a shipped one.
        out: The study file; it must not exist yet.
        console: Where to print.
        only_list: Print the switches, write nothing.
        cli: ``module:name`` of the project's own command line.

    Raises:
        InputError: The base cannot be used, has no switches, or ``out`` exists already.
    """
    if not only_list:
        _check_free(out)
    recipe = _recipe(base, cli)
    with phase(console, f"reading {base} ..."):
        built = _build(recipe)
        switches = _switches(recipe, built)
    if not switches:
        told = f"no switch among the arguments of the model and the data; a switch is {_KINDS}"
        raise InputError(told, file=base)
    if only_list:
        _show(switches, console)
        return
    candidates = named(switches)
    count = 1 + sum(not candidate.reason for candidate in candidates)
    with phase(console, f"rehearsing {count} arms on a batch or two each ..."):
        metric, logged, candidates = _rehearsed(recipe, candidates)
    if all(candidate.reason for candidate in candidates):
        raise InputError(f"no switch can be used: {candidates[0].reason}", file=base)
    owners = [type(part).__name__ for part in (built.model, built.data) if part is not None]
    written = {"question": f"Which switches of {' and '.join(owners)} matter?"}
    written["base"] = _relative(recipe.base_file, base, out)
    text = _text(written | ({"cli": cli} if cli else {}), metric, logged, candidates)
    try:
        write_atomic(out, text)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", file=out) from error
    _conclude(out, metric, candidates, console)


def _check_free(out: Path) -> None:
    if os.path.lexists(out):
        raise InputError("exists already and is left as it is; give --out another name", file=out)
    folder = next(path for path in out.resolve().parents if path.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot be written: {folder} is no folder to write in", file=out)


def _recipe(base: Path, cli: str | None) -> Recipe:
    file = base if base.is_file() else shipped_configs() / base
    if not file.is_file():
        beside = [str(path) for path in base.parent.glob("*.y*ml")]
        raise InputError("no such file", file=base, nearest=nearest(str(base), beside))
    content = expand(read_yaml(file))
    held = content if "model" in content else content.get("fit")
    model = held.get("model") if isinstance(held, dict) else None
    if cli is None and model is None:
        raise InputError("holds no model: not a LightningCLI configuration", file=base)
    if cli is None and not (isinstance(model, dict) and "class_path" in model):
        raise InputError(
            "the model has no class_path; name the project's own command line, "
            "as in --cli my_project.main:main",
            file=base,
            key="model",
        )
    paths = (os.getcwd(), str(file.resolve().parent))
    return Recipe(base, "baseline", file, content, {}, cli, paths)


def _build(recipe: Recipe) -> Built:
    with tempfile.TemporaryDirectory(prefix="ablations-") as folder:
        try:
            with output_to(Path(folder) / "log.txt"):
                return build(recipe, 0, {"default_root_dir": folder})
        except InputError as error:
            raise _retold(error, recipe) from error
        except (Exception, SystemExit) as error:
            told = f"cannot be built: {type(error).__name__}: {error}"
            raise InputError(told, file=recipe.study_file) from error


def _retold(error: InputError, recipe: Recipe) -> InputError:
    """There is no study yet to name as the place of an error."""
    file, key = error.file, error.key
    if key == "cli":
        file, key = "--cli", None
    elif key is not None and key.startswith("arms."):
        file, key = recipe.study_file, None
    return InputError(error.message, file=file, key=key, nearest=error.nearest)


def _switches(recipe: Recipe, built: Built) -> list[Switch]:
    def load(key: str, path: str) -> Any:
        return import_class(recipe, key, path)

    return [
        switch
        for key, part in (("model", built.model), ("data", built.data))
        for switch in find_switches(built.config.get(key), key, type(part), load)
    ]


def _rehearsed(
    recipe: Recipe, candidates: Sequence[Candidate]
) -> tuple[str, tuple[str, ...], list[Candidate]]:
    """The metric, all that is logged, and the candidates with what speaks against them."""

    def order(name: str, overrides: Mapping[str, Any]) -> Order:
        arm = replace(recipe, arm=name, overrides=expand(dict(overrides)))
        return Order(arm, 0, "rehearsal", Path(), ())

    baseline = rehearse(order("baseline", {}))
    if baseline.error is not None:
        raise _retold(baseline.error, recipe)
    if not baseline.logged:
        told = 'fit and test log no metric; the model must call self.log("val/error", ...)'
        raise InputError(told, file=recipe.study_file)
    metric = min(baseline.logged, key=_rank)
    judged = []
    for candidate in candidates:
        if not candidate.reason:
            found = rehearse(order(candidate.name, {candidate.switch.key: candidate.value}))
            if found.error is not None:
                candidate = replace(candidate, reason=_short(found.error.message))
            elif not changes(found.config, baseline.config):
                candidate = replace(candidate, reason="changes nothing")
            elif metric not in found.logged:
                candidate = replace(candidate, reason=f"{metric} is not logged")
        judged.append(candidate)
    return metric, baseline.logged, judged


def _short(message: str) -> str:
    return textwrap.shorten(message, 240, placeholder=" ...")


def _rank(name: str) -> tuple[Any, ...]:
    """Test before validation before training, what is counted before losses, epochs over steps."""
    words = re.findall(r"[a-z]+", name.lower())
    splits = {"test": 0, "val": 1, "valid": 1, "validation": 1, "train": 3, "training": 3}
    split = next((splits[word] for word in words if word in splits), 2)
    kind = 0 if {"error", "err", "acc", "accuracy"} & set(words) else 1
    kind = 2 if {"loss", "nll"} & set(words) else kind
    return split == 3, _mode(name) is None, split, kind, words[-1:] == ["step"], len(name), name


def _mode(name: str) -> str | None:
    """Which way the metric is better, where its name tells."""
    try:
        return parse_metric(name).mode
    except InputError:
        return None


def _relative(file: Path, given: Path, out: Path) -> str:
    """The base as the study names it: beside the study, or among the shipped ones."""
    if file != given:
        return given.as_posix()
    return Path(os.path.relpath(file.resolve(), out.parent.resolve())).as_posix()


def _text(
    head: Mapping[str, str], metric: str, logged: Sequence[str], candidates: Sequence[Candidate]
) -> str:
    lines = [
        "# A first study, to be edited: delete the arms that you do not want to ask about.",
        "",
    ]
    lines += [*(_yaml(key, value) for key, value in head.items()), ""]
    mode = _mode(metric)
    if mode is None:
        lines.append(
            "# CHECK the mode: whether lower (min) or higher (max) is better is a guess here."
        )
        lines.append(_yaml("metric", {"name": metric, "mode": "min"}))
    else:
        lines.append(f"{_yaml('metric', metric)}  # {_BETTER[mode]} is better")
    others = ", ".join(name for name in logged if name != metric)
    lines += _comment(f"Logged too: {others}") if others else []
    lines += ["", f"seeds: {SEEDS}  # every arm is trained once with each of them"]
    lines.append("# margin: 0.5  # smaller differences count as equivalent; in the metric's units")
    lines += ["", "baseline: baseline", "arms:", "  baseline: {}"]
    said: Switch | None = None
    for candidate in candidates:
        switch = candidate.switch
        if switch is not said:
            now = f"{switch.place}: {switch.kind}, now {shown(switch.now)}"
            lines += ["", *_comment(now, "  "), *_comment(switch.text, "  ")]
        said = switch
        line = _yaml(candidate.name, {switch.key: candidate.value})
        if candidate.reason:
            lines += [*_comment(f"Left out: {candidate.reason}", "  "), f"  # {line}"]
        else:
            lines.append(f"  {line}")
    return "\n".join(lines) + "\n"


def _yaml(key: str, value: Any) -> str:
    style = None if isinstance(value, dict) else False
    text: str = yaml.safe_dump(
        {key: value}, default_flow_style=style, width=10**6, allow_unicode=True, sort_keys=False
    )
    return text.rstrip()


def _comment(text: str, indent: str = "") -> list[str]:
    start = f"{indent}# "
    text = " ".join(text.split())
    return textwrap.wrap(
        text, 100, initial_indent=start, subsequent_indent=start, max_lines=4, placeholder=" ..."
    )


def _show(switches: Sequence[Switch], console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("switch", no_wrap=True)
    for name in ("type", "now", "arms", "what it is"):
        table.add_column(name)
    for switch in switches:
        values = ", ".join(map(shown, switch.others))
        kind = re.sub(r"Literal\[[^\]]*\]", "Literal", switch.kind)
        cells = (switch.place, kind, shown(switch.now), values, switch.text)
        table.add_row(*map(escape, cells))
    console.print(table)


def _conclude(out: Path, metric: str, candidates: Sequence[Candidate], console: Console) -> None:
    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    kept = [candidate.name for candidate in candidates if not candidate.reason]
    mode = _mode(metric)
    told = f"{_BETTER[mode]} is better" if mode else "CHECK in the file which way is better"
    line(f"{out}: a baseline and {len(kept)} arms, {SEEDS} seeds, judged by {metric} ({told})")
    line(f"  {', '.join(kept)}")
    for candidate in candidates:
        if candidate.reason:
            line(f"  {candidate.name} is left out: {candidate.reason}")
    line("next:")
    line(f"  ablate plan {out}")
    line(f"  ablate run {out}")
