"""Trials that start from others: which of these are missing, trained in front of them."""

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from ablations.study import Study, Trial, source_trial, trials
from ablations.sweep.job import Order
from ablations.sweep.seeding import Part, Seeds
from ablations.sweep.weights import WEIGHTS
from ablations.workspace import Workspace


@dataclass(frozen=True)
class Missing:
    """Trials of a study whose weights others wait for.

    Attributes:
        again: How many of the trials are done, but kept no weights.
    """

    study: Study
    trials: tuple[Trial, ...]
    again: int


def has_weights(workspace: Workspace, trial: str) -> bool:
    """Whether a trial is whole and kept its weights."""
    kept = (workspace.trial_folder(trial) / WEIGHTS).exists()
    return kept and workspace.result(trial) is not None


def missing_sources(study: Study, workspace: Workspace, todo: Iterable[Trial]) -> list[Missing]:
    """What has to be trained before ``todo``, study by study, in an order that works."""
    studies: dict[Path, Study] = {}
    needed: dict[Path, dict[str, Trial]] = {}
    for trial in todo:
        source = study.sources.get(trial.arm)
        if source is None:
            continue
        wanted = source_trial(source, trial.seed)
        if not has_weights(workspace, wanted.id):
            file = source.study.file.resolve()
            studies[file] = source.study
            needed.setdefault(file, {})[wanted.id] = wanted
    missing: list[Missing] = []
    for file, found in studies.items():
        first = tuple(needed[file].values())
        again = sum(workspace.result(trial.id) is not None for trial in first)
        missing += [*missing_sources(found, workspace, first), Missing(found, first, again)]
    return missing


def source_studies(study: Study) -> tuple[Study, ...]:
    """All studies that a study's trials start from, directly or not, with what is asked of them."""
    found: dict[Path, Study] = {}
    for source in study.sources.values():
        seeds = tuple(dict.fromkeys((*source.study.seeds, *study.seeds)))
        asked = replace(source.study, keep_weights=True, seeds=seeds, plan=None)
        for each in (*source_studies(asked), asked):
            found.setdefault(each.file.resolve(), each)
    return tuple(found.values())


class Sourced(Seeds):
    """The seeds of a study whose trials start from others: what is missing is trained in front.

    Args:
        parts: The study, then its :func:`source_studies`, which want no seeds of their own.
        workspace: Where they are.
        say: Prints a line.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        workspace: Workspace,
        say: Callable[[str], None],
    ) -> None:
        super().__init__(parts, workspace, say)
        self._source_of = {
            trial.id: source_trial(part.study.sources[trial.arm], trial.seed)
            for part in parts
            for trial in trials(part.study)
            if trial.arm in part.study.sources
        }
        self._sources = {trial.id for trial in self._source_of.values()}
        self._begun: set[str] = set()
        self._counted: set[str] = set()
        self.held: list[Trial] = []

    def take(self) -> Trial | None:
        """The next trial that can start, or one that another waits for."""
        for trial in self.held:
            if self._missing(trial) is None:
                self.held.remove(trial)
                return trial
        while (taken := super().take()) is not None:
            trial = taken
            if trial.id in self._begun:
                # A trial of the study is the same as one that others start from.
                if trial.id in self._ended:
                    self._open.discard(trial.id)
                continue
            self._begun.add(trial.id)
            while (source := self._missing(trial)) is not None:
                self.held.append(trial)
                if source.id in self._begun:
                    break
                self._begun.add(source.id)
                self._open.add(source.id)
                trial = source
            else:
                return trial
        return None

    def others(self, trial: Trial, most: int, without: Set[str]) -> list[Trial]:
        """None where trials start from others: those keep weights, and these load them."""
        return [] if self._sources else super().others(trial, most, without)

    def _missing(self, trial: Trial) -> Trial | None:
        source = self._source_of.get(trial.id)
        there = source is None or has_weights(self.workspace, source.id)
        return None if there else source

    def _look(self) -> None:
        super()._look()
        self._counted.update(trial.id for trial in self._queue)
        for trial in self._queue:
            while (source := self._missing(trial)) is not None and source.id not in self._counted:
                self._counted.add(source.id)
                self.left[self._arm(source.id)] += 1
                trial = source

    def launch(self, trial: Trial, attempt: int) -> Order:
        """Record that an attempt starts; a result that has no weights is put aside."""
        order = super().launch(trial, attempt)
        if trial.id not in self._sources:
            return order
        if self.workspace.result(trial.id) is not None:
            self.workspace.set_aside(trial.id)
        return replace(order, keep_weights=True)
