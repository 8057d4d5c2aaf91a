"""The inputs on which analyses of ensembles look at members: clean, noisy, and moved as a run moves them."""

from cohort.analysis.options import OF_INPUTS, AnalyseOptions
from cohort.config import Perturbation
from cohort.objectives.perturbation import InputPerturbation
from cohort.run.finished import LoadedRun

INPUTS: dict[str, Perturbation] = {
    "clean": "none",
    "gaussian": "gaussian",
    "ods": "ods",
    "conf_ods": "conf_ods",
}
DIVERSITY = "mean pairwise KL / nat"
KEYS = {"eta": "eta", "tau": "temperature", "norm": "norm"}
"""What options are called in ``InputPerturbation``."""
OWN = {"eta": "eta", "tau": "tau", "norm": "ods_norm"}
"""What they are called in the config of a run of ODS distillation."""


def perturbation(kind: Perturbation, options: AnalyseOptions, run: LoadedRun) -> InputPerturbation:
    """A perturbation of this kind as the run had it, where the options do not say otherwise.

    With the usual step size, temperature and norm for a run that perturbed nothing.
    """
    own = {key: run.settings.get(OWN[key]) for key in OF_INPUTS}
    given = {key: getattr(options, key) for key in OF_INPUTS}
    used = {KEYS[key]: own[key] if given[key] is None else given[key] for key in OF_INPUTS}
    return InputPerturbation(kind=kind, **{k: v for k, v in used.items() if v is not None})


def said(run: LoadedRun, options: AnalyseOptions) -> str:
    """How the inputs of a run are perturbed, in a caption."""
    used = perturbation("ods", options, run)
    return f"η {used.eta:g}, τ {used.temperature:g}, norm {used.norm}"
