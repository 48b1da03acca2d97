"""Every arm on a batch or two before anything is trained: what is wrong, and what is learned."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import yaml
from rich.console import Console

from ablations.study import Study, trials
from ablations.study.tuning import probes, told_in_space, tuned_arms
from ablations.sweep.executors import Executor
from ablations.sweep.progress import phase
from ablations.workspace import Workspace


@dataclass(frozen=True)
class Rehearsing:
    """Rehearsals of a sweep's studies.

    Attributes:
        timeout: Seconds that a trial may go without progress; a rehearsal gets a minute at least.
    """

    workspace: Workspace
    console: Console
    executor: Executor
    timeout: float | None

    def probe(self, study: Study) -> None:
        """Rehearse every tuned arm at the ends of its space.

        Raises:
            InputError: The space has a key or a value that the arm does not take.
        """
        from ablations.sweep.orders import rehearse_arms

        names = tuned_arms(study)
        with phase(self.console, f"rehearsing {len(names)} arms at the ends of what is tuned ..."):
            for probe in probes(study):
                found = rehearse_arms(probe, names, self.executor, self.timeout)
                for name, rehearsal in found.items():
                    if rehearsal.error is not None:
                        raise told_in_space(rehearsal.error, study, name)

    def learn(self, study: Study, needed: Collection[str], *, own: bool = False) -> dict[str, Any]:
        """What the rehearsal learns of arms: changes, parameters, flops.

        Args:
            study: The study.
            needed: The arms that are trained now; of the others it is what was learned before.
            own: Whether arms have settings of their own, with which they may turn out alike.

        Raises:
            InputError: An arm cannot be trained.
        """
        from ablations.sweep.differences import changes, check_rehearsals
        from ablations.sweep.orders import rehearse_arms

        names = [arm.name for arm in study.arms if arm.name in needed or arm.name == study.baseline]
        with phase(self.console, f"rehearsing {len(names)} arms on a batch or two each ..."):
            rehearsals = rehearse_arms(study, names, self.executor, self.timeout)
        errors = check_rehearsals(study, rehearsals)
        if own:
            errors = [rehearsal.error for rehearsal in rehearsals.values() if rehearsal.error]
        if errors:
            for error in errors[:-1]:
                self.console.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
            raise errors[-1]
        for note in sorted({note for r in rehearsals.values() for note in r.notes}):
            self.console.print(f"note: {study.base}: {note}", markup=False, highlight=False)
        baseline = rehearsals[study.baseline].config
        learned = {
            name: {
                "changes": changes(r.config, baseline),
                "parameters": r.parameters,
                "flops": r.flops,
            }
            for name, r in rehearsals.items()
        }
        known = self.workspace.arms(study.name)
        return {arm.name: learned.get(arm.name, known.get(arm.name)) for arm in study.arms}


def told_by_trials(study: Study, workspace: Workspace) -> dict[str, Any]:
    """The same of arms whose trials another study trained, as far as these tell: no flops."""
    from ablations.sweep.differences import changes

    configs: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for trial in trials(study):
        file = workspace.trial_folder(trial.id) / "config.yaml"
        result = workspace.result(trial.id)
        if trial.seed == study.seeds[0] and result is not None and file.is_file():
            configs[trial.arm] = yaml.safe_load(file.read_text(encoding="utf-8"))
            told[trial.arm] = {"parameters": result["parameters"], "flops": None}
    if study.baseline not in configs:
        return {}
    baseline = configs[study.baseline]
    return {name: {"changes": changes(configs[name], baseline)} | told[name] for name in told}
