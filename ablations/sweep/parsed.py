"""An arm's configuration parsed once in a process, whichever seeds it is trained with.

Parsing takes several times as long as making what it describes, and only the seed differs.
"""

import copy
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from ablations.sweep.build import Recipe

# Attributes of a LightningCLI for what it made.
_MADE = ("config_init", "model", "datamodule", "trainer")


@dataclass(frozen=True)
class Parsed:
    """A LightningCLI of no project's own that has parsed a recipe.

    Attributes:
        recipe: As text: 1, 1.0 and True are equal, and each is another configuration.
        config: What it parsed.
        hyperparameters: The same as plain values, which Lightning gives to the modules.
        told: The same without what links fill in, for config.yaml.
    """

    recipe: str
    cli: Any
    config: Any
    hyperparameters: dict[str, Any]
    told: dict[str, Any]

    def make(self, seed: int) -> None:
        """Seed, then make trainer, model and data, in LightningCLI's order."""
        self.cli.config = self.config.clone()
        self.cli.config["seed_everything"] = seed
        self.cli.config_dump = copy.deepcopy(self.hyperparameters)
        self.cli._set_seed()
        self.cli.instantiate_classes()

    def resolved(self, seed: int) -> dict[str, Any]:
        """The configuration with a seed."""
        return copy.deepcopy(self.told) | {"seed_everything": seed}

    def forget_made(self) -> None:
        """Let go of what was made last, so that it ends with its trial."""
        for name in _MADE:
            vars(self.cli).pop(name, None)


_PARSED: dict[tuple[Path, str], Parsed] = {}


def parsed(recipe: "Recipe") -> Parsed | None:
    """What this process parsed of an arm, unless the recipe is another since."""
    known = _PARSED.get((recipe.study_file, recipe.arm))
    return known if known is not None and known.recipe == repr(recipe) else None


def parsing_cli(namespace: str, recipe: "Recipe") -> Callable[[], Any]:
    """Makes a LightningCLI of the namespace, of which is kept what it parses."""
    base: Any = importlib.import_module(f"{namespace}.cli").LightningCLI

    def keep(self: Any) -> None:
        self._dump_config()
        told = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        known = Parsed(
            repr(recipe), self, self.config.clone(), copy.deepcopy(self.config_dump), told
        )
        _PARSED[recipe.study_file, recipe.arm] = known

    kind = type("LightningCLI", (base,), {"before_instantiate_classes": keep})
    return lambda: kind(subclass_mode_model=True, subclass_mode_data=True)
