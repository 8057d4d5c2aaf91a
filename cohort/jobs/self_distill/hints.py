"""What a student is run beside when it learns from a teacher: its maps next to the teacher's."""

import torch
from torch import nn

from cohort.errors import ConfigError
from cohort.jobs.self_distill.config import SelfDistillConfig
from cohort.learning.beside_teacher import BesideFrozenTeacher
from cohort.models.cut import CutNetwork, candidates, cut, default_places, last_place
from cohort.models.modules import in_mode
from cohort.models.multi_exit import MultiExit
from cohort.models.normalised import Normalised
from cohort.models.regressor import MapShape, Regressors
from cohort.models.spec import shown
from cohort.seeding import derive_seed

Names = tuple[str, ...]


def beside_teacher(
    config: SelfDistillConfig, student: Normalised, teacher: Normalised, shape: MapShape
) -> BesideFrozenTeacher:
    """The student and its teacher, cut at the places whose maps are compared, if any are.

    FitNets guides one layer in the middle of the network through a regressor, attention transfer
    the end of every section (their papers' sections 2.2 and 3.1). Raises ConfigError if the places
    do not pair up.
    """
    if config.method == "kd":
        return BesideFrozenTeacher(student, teacher)
    own_places, their_places = _paired_places(config, student.network, teacher)
    ours = _cut(student.network, own_places, shape, config.model, "--exits")
    theirs = _cut(teacher.network, their_places, shape, config.teacher, "--teacher")
    if len(ours.places) != len(theirs.places):
        raise ConfigError(
            f"--method {config.method} compares maps one by one, but those of the student are after "
            f"{', '.join(ours.places)} and the teacher's after {', '.join(theirs.places)}; name "
            f"{len(theirs.places)} of the student's by --exits, or use --method kd"
        )
    if config.method == "at":
        return BesideFrozenTeacher(student, teacher, (ours, theirs))
    regressors = _regressors(ours, theirs, shape, config.seed)
    return BesideFrozenTeacher(student, teacher, (ours, theirs), regressors)


def _paired_places(
    config: SelfDistillConfig, student: nn.Module, teacher: Normalised
) -> tuple[Names, Names]:
    """Modules of the student and of the teacher whose maps are compared, pair by pair.

    The user may have named one more of the student's than the teacher has exits.
    """
    own, theirs = _places(config, student), _teacher_places(config, teacher)
    if config.method == "fitnet" and config.places is None:
        return _middle(own), _middle(theirs)
    own_end, their_end = last_place(student), _end_of(teacher.network)
    if config.places is None and own_end and their_end:
        return (*own, own_end), (*theirs, their_end)
    if their_end and len(own) == len(theirs) + 1:
        return own, (*theirs, their_end)
    return own, theirs


def _end_of(network: nn.Module) -> str | None:
    return network.last_place if isinstance(network, MultiExit) else last_place(network)


def _places(config: SelfDistillConfig, student: nn.Module) -> Names:
    places = config.places or default_places(student)
    if places:
        return places
    assert config.model is not None, "the config is not resolved"
    raise ConfigError(
        f"--model is {shown(config.model)}, a network that does not say where its sections end; name "
        f"places by --exits, among {candidates(student)}, or use --method kd"
    )


def _teacher_places(config: SelfDistillConfig, teacher: Normalised) -> Names:
    network = teacher.network
    places = network.places if isinstance(network, MultiExit) else default_places(network)
    if places:
        return places
    raise ConfigError(
        f"--teacher {config.teacher} has a network that does not say where its sections end; use "
        "--method kd, or a teacher with exits"
    )


def _middle(places: Names) -> Names:
    return (places[len(places) // 2],)


def _cut(network: nn.Module, places: Names, shape: MapShape, spec: object, flag: str) -> CutNetwork:
    if not isinstance(network, MultiExit):
        return cut(network, places, shape, spec, flag)
    # It is cut already, at its exits.
    kept = [network.places.index(place) + 1 for place in places if place != network.last_place]
    bounds = zip([0, *kept], [*kept, len(network.sections)], strict=True)
    sections = [nn.Sequential(*network.sections[start:end]) for start, end in bounds]
    classifier = network.classifiers[-1]
    assert isinstance(classifier, nn.Linear)
    ready = CutNetwork(sections, classifier, places[: len(kept)])
    if len(kept) == len(places):
        return ready
    *front, back = sections
    end = f"0.{len(back) - 1}.{network.last_place}"
    tail = cut(nn.Sequential(back, classifier), (end,), _map_shapes(ready, shape)[-1], spec, flag)
    return CutNetwork([*front, *tail.sections], classifier, places)


def _regressors(ours: CutNetwork, theirs: CutNetwork, shape: MapShape, seed: int) -> Regressors:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "init", "regressors"))
        return Regressors(_map_shapes(ours, shape), _map_shapes(theirs, shape))


@torch.no_grad()
def _map_shapes(network: CutNetwork, shape: MapShape) -> list[MapShape]:
    """(C, H, W) of the maps at the places."""
    with in_mode(network, training=False):
        maps, _ = network.with_maps(torch.zeros(2, *shape))
    return [(m.shape[1], m.shape[2], m.shape[3]) for m in maps]
