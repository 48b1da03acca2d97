"""A LightningCLI configuration with an arm's overrides, made into trainer, model and data."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from ablations.study import Arm, InputError, Study
from ablations.study.yamlfile import merge
from ablations.sweep.complaints import check_shape, explain, import_class, place
from ablations.sweep.parsed import parsed, parsing_cli

NAMESPACES = ("pytorch_lightning", "lightning.pytorch")
# Keys of a configuration saved by one subcommand, which a parser without subcommands refuses.
_SUBCOMMAND_KEYS = ("ckpt_path", "return_predictions", "verbose", "weights_only")
_OWN_DATA = "ablations.data.PackedDataModule"
_OWN_DATA_UNIFIED = "ablations.data.unified.PackedDataModule"


@dataclass(frozen=True)
class Recipe:
    """All that a worker needs to build an arm.

    Attributes:
        start: For a trial that starts from another, the dotted key of the path to its weights,
            and which trial that is.
    """

    study_file: Path
    arm: str
    base_file: Path
    base: Mapping[str, Any]
    overrides: Mapping[str, Any]
    cli: str | None
    import_paths: tuple[str, ...] = ()
    start: tuple[str, str] | None = None

    @classmethod
    def of(cls, study: Study, arm: Arm) -> "Recipe":
        """The recipe of a study's arm; its imports are looked for here and beside the base."""
        paths = (os.getcwd(), str(study.base.resolve().parent))
        base = dict(study.base_config)
        return cls(study.file, arm.name, study.base, base, dict(arm.overrides), study.cli, paths)


@dataclass(frozen=True)
class Built:
    """A training, ready to fit.

    Attributes:
        config: The resolved configuration, defaults included.
        namespace: The package that the module's base class comes from.
        notes: What was left out of the base, for the reader.
    """

    trainer: Any
    model: Any
    data: Any
    config: dict[str, Any]
    namespace: str
    notes: tuple[str, ...] = field(default=())


class _Captured(BaseException):
    """Unwinds a project's own main function once its LightningCLI stands."""


def build(recipe: Recipe, seed: int, trainer_options: Mapping[str, Any]) -> Built:
    """Build an arm with a seed.

    Args:
        recipe: The arm.
        seed: Given to ``seed_everything`` before anything is made.
        trainer_options: Trainer arguments that replace those of the configuration.

    Raises:
        InputError: The configuration names something that does not exist or does not fit.
    """
    for path in reversed(recipe.import_paths):
        if path not in sys.path:
            sys.path.insert(0, path)
    base, notes = _cleaned(dict(recipe.base))
    merged = merge(base, dict(recipe.overrides))
    check_shape(recipe, merged)
    known = parsed(recipe)
    if known is None and recipe.cli is None:
        namespace, base = _one_namespace(recipe, base, merged)
        construct = parsing_cli(namespace, recipe)
    elif known is None:
        construct = _project_cli(recipe)
    layers = [base, dict(recipe.overrides), {"seed_everything": seed}]
    begun: list[Any] = []
    try:
        with _intercepted(layers, trainer_options, begun):
            if known is not None:
                begun.append(known.cli)
                known.make(seed)
                raise _Captured
            construct()
    except _Captured:
        pass
    except InputError:
        raise
    except Exception as error:
        parser = getattr(begun[-1], "parser", None) if begun else None
        accepted = parser.get_defaults(skip_validation=True).keys() if parser else ()
        raise explain(error, recipe, merged, accepted) or _root(error) from error
    else:
        raise InputError(
            f"{recipe.cli} ended without building a LightningCLI", file=recipe.study_file, key="cli"
        )
    cli = begun[-1]
    known = parsed(recipe)
    if known is None:
        config = yaml.safe_load(cli.parser.dump(cli.config, skip_none=False))
    else:
        config = known.resolved(seed)
    built = Built(cli.trainer, cli.model, cli.datamodule, config, _namespace(cli.model), notes)
    if known is not None:
        known.forget_made()
    return built


def _root(error: BaseException) -> BaseException:
    """Why a class could not be made, from below the parser's account of it."""
    while error.__cause__ is not None and "Does not validate against any" in str(error):
        error = error.__cause__
    return error


def _cleaned(base: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    if "fit" in base and "model" not in base:
        base = dict(base["fit"])
    dropped = [key for key in _SUBCOMMAND_KEYS if base.pop(key, None) is not None]
    for key in _SUBCOMMAND_KEYS:
        base.pop(key, None)
    return base, tuple(f"{key} belongs to a subcommand and is left out" for key in dropped)


def _one_namespace(
    recipe: Recipe, base: dict[str, Any], merged: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    model = merged.get("model")
    if not isinstance(model, dict) or "class_path" not in model:
        file, key = place(recipe, "model")
        raise InputError(
            "the model has no class_path; name the project's own command line in the study, "
            "as in cli: my_project.main:main",
            file=file,
            key=key,
        )
    namespace = _namespace(import_class(recipe, "model.class_path", model["class_path"]))
    data = merged.get("data")
    if isinstance(data, dict) and "class_path" in data:
        if data["class_path"] == _OWN_DATA and namespace == NAMESPACES[1]:
            own = {"data": {"class_path": _OWN_DATA_UNIFIED}}
            base = merge(base, own)
        else:
            found = _namespace(import_class(recipe, "data.class_path", data["class_path"]))
            if found != namespace:
                file, key = place(recipe, "data.class_path")
                raise InputError(
                    f"the model comes from {namespace}, the data from {found}; "
                    "a Trainer takes both from one of them",
                    file=file,
                    key=key,
                )
    return namespace, base


def _namespace(thing: Any) -> str:
    """The namespace of a module, data module, or class of either."""
    kind = thing if isinstance(thing, type) else type(thing)
    for parent in getattr(kind, "__mro__", ()):
        for namespace in NAMESPACES:
            if parent.__module__.startswith(f"{namespace}."):
                return namespace
    return NAMESPACES[0]


def _project_cli(recipe: Recipe) -> Callable[[], Any]:
    module, _, name = str(recipe.cli).partition(":")
    if not name:
        raise InputError(
            'expected "module:name", as in my_project.main:main', file=recipe.study_file, key="cli"
        )
    made = import_class(recipe, "cli", f"{module}.{name}")
    if not callable(made):
        raise InputError(f"{recipe.cli} is no class or function", file=recipe.study_file, key="cli")

    def construct() -> Any:
        missing = [
            p.name
            for p in inspect.signature(made).parameters.values()
            if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        if missing:
            raise InputError(
                f"{recipe.cli} needs arguments ({', '.join(missing)}); name the function that "
                "builds the command line",
                file=recipe.study_file,
                key="cli",
            )
        return made()

    return construct


@contextmanager
def _intercepted(
    layers: Sequence[Mapping[str, Any]], trainer_options: Mapping[str, Any], begun: list[Any]
) -> Iterator[None]:
    """Make every LightningCLI built inside parse these layers and run nothing.

    It is appended to ``begun`` when its construction begins; _Captured is raised when it ends.
    """
    arguments = [
        part for layer in layers if layer for part in ("--config", yaml.safe_dump(dict(layer)))
    ]
    with ExitStack() as stack:
        for namespace in NAMESPACES:
            module = sys.modules.get(f"{namespace}.cli")
            if module is not None:
                _patch_cli(stack, module.LightningCLI, arguments, trainer_options, begun)
        stack.enter_context(mock.patch.object(sys, "argv", sys.argv[:1]))
        yield


def _patch_cli(
    stack: ExitStack,
    cli: Any,
    arguments: list[str],
    trainer_options: Mapping[str, Any],
    begun: list[Any],
) -> None:
    init, make_trainer = cli.__init__, cli.instantiate_trainer
    signature = inspect.signature(init)

    def patched_init(self: Any, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(self, *args, **kwargs)
        own = dict(given.arguments.get("parser_kwargs") or {})
        own = {key: value for key, value in own.items() if not isinstance(value, dict)}
        given.arguments |= {
            "run": False,
            "args": arguments,
            "save_config_callback": None,
            "parser_kwargs": {**own, "allow_abbrev": False, "exit_on_error": False},
        }
        begun.append(self)
        init(*given.args, **given.kwargs)
        raise _Captured

    def patched_trainer(self: Any, **kwargs: Any) -> Any:
        return make_trainer(self, **kwargs, **_quiet(self, trainer_options))

    stack.enter_context(mock.patch.object(cli, "__init__", patched_init))
    stack.enter_context(mock.patch.object(cli, "instantiate_trainer", patched_trainer))


def _quiet(cli: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Trainer arguments for a worker: no bars, no logger, checkpoints only where asked for."""
    callbacks = importlib.import_module(f"{_namespace(cli.trainer_class)}.callbacks")
    configured = cli.config_init.trainer
    given = configured.get("callbacks") or []
    given = given if isinstance(given, list) else [given]
    default = cli.trainer_defaults.get("callbacks") or []
    default = default if isinstance(default, list) else [default]
    loud = (callbacks.ProgressBar, callbacks.ModelSummary)
    configured["callbacks"] = [c for c in given if not isinstance(c, loud)]
    keeps = any(isinstance(c, callbacks.Checkpoint) for c in [*given, *default])
    return {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": keeps,
        **options,
    }
