"""What an ODS config leaves out, filled in from the teachers' run, the recipe and the method."""

import dataclasses
from pathlib import Path
from typing import Any

from cohort.config_file import plain
from cohort.data.recipes import fill_in, ods_recipe
from cohort.errors import ConfigError
from cohort.invocation import command_line
from cohort.jobs.ods.config import OF_TEACHERS, OdsConfig
from cohort.learning.student_files import read_card, refuse_network
from cohort.run.finished import RunData, read_run_data, students_of
from cohort.run.storage import to_read

INHERITED = ("image_size", "train_subset", "test_subset", "validation", "data_seed")
"""Keys of the data that are the teachers' where the user names none."""
ALPHA, ETA, TAU, TAU_CIFAR100 = 0.9, 1.0, 4.0, 1.0


def resolve(config: OdsConfig) -> OdsConfig:
    """The config with every key that was left out filled in.

    Raises ConfigError if the teachers' folder is not that of a finished run, or does not fit.
    """
    if config.teachers is None:
        raise ConfigError(
            "--teachers is missing; name the folder of a finished deep ensemble, which "
            f"{command_line('train', '--teacher', 'none', '--k', 4)} trains"
        )
    folders = teacher_folders(config)
    data = read_run_data(to_read(config.teachers), None)
    config = dataclasses.replace(config, choose=config.chosen)  # as analyses read it
    config = _with_data(config, data)
    config = fill_in(config, ods_recipe(config.dataset))
    if config.model is None:
        config = dataclasses.replace(config, model=_common_network(config, folders))
    return _with_method(config, [folder.name for folder in folders])


def teacher_folders(config: OdsConfig) -> list[Path]:
    """Folders of the students that teach, in their order; raises ConfigError for those not there."""
    assert config.teachers is not None
    found = students_of(config.teachers, "--teachers")
    chosen = tuple(found) if config.chosen is None else config.chosen
    for number in chosen:
        if number not in found or chosen.count(number) > 1:
            raise ConfigError(
                f"--choose is {','.join(map(str, chosen))}; it must be different ones of "
                f"{','.join(map(str, found))}, the students of --teachers {config.teachers}"
            )
    return [found[number] for number in chosen]


def _with_data(config: OdsConfig, data: RunData) -> OdsConfig:
    """The data of the teachers' run, but where the user says otherwise."""
    if config.dataset == OF_TEACHERS:
        assert config.teachers is not None
        data.refuse_code(to_read(config.teachers), config.trust_code)
        inherited = {key: getattr(data, key) for key in INHERITED if getattr(config, key) is None}
        if inherited.get("data_seed", 0) is None:
            inherited["data_seed"] = data.seed
        if config.data_root == OdsConfig.data_root:
            inherited["data_root"] = data.data_root
        config = dataclasses.replace(config, dataset=data.dataset, **inherited)
    if plain(config.dataset) == data.dataset:  # if not, that is what to speak of
        check_validation(config, data)
    return config


def check_validation(config: OdsConfig, data: RunData | None = None) -> None:
    """Raise ConfigError unless the validation split is one that the teachers did not learn from.

    ``data`` is what the config of their run says, if it has been read.
    """
    assert config.teachers is not None
    theirs = (data or read_run_data(to_read(config.teachers), None)).validation
    if config.validation != theirs:
        instead = f"use --validation {theirs}" if theirs else "leave it out"
        raise ConfigError(
            f"--validation is {config.validation or 'missing'}, but the teachers in {config.teachers} "
            f"held out {theirs or 'nothing'}, and images that they learned validate nothing; {instead}"
        )


def _common_network(config: OdsConfig, folders: list[Path]) -> str:
    cards = {folder: read_card(folder) for folder in folders}
    for folder, card in cards.items():
        refuse_network(card, folder, config.trust_code)
    networks = {card.network.partition("+")[0] for card in cards.values()}
    if len(networks) > 1:
        raise ConfigError(
            f"--model is missing, and the teachers are of several networks, "
            f"{', '.join(sorted(networks))}; name the student's"
        )
    return networks.pop()


def _with_method(config: OdsConfig, teachers: list[str]) -> OdsConfig:
    """Members, method, and what its loss has."""
    single = config.student == "single"
    filled: dict[str, Any] = {
        "choose": config.chosen,
        "method": config.method or ("mean" if single else "one_to_one"),
        "members": None if single else config.members or len(teachers),
    }
    _check_members(config, filled["method"], filled["members"], teachers)
    if filled["method"] == "labels":
        return dataclasses.replace(config, **filled)
    kind = config.perturbation or "conf_ods"
    filled |= {"perturbation": kind, "alpha": _or(config.alpha, ALPHA)}
    filled["tau"] = _or(config.tau, TAU_CIFAR100 if config.dataset == "cifar100" else TAU)
    if kind != "none":
        filled["eta"] = _or(config.eta, ETA)
    if kind in ("ods", "conf_ods"):
        filled["ods_norm"] = config.ods_norm or "rms"
    return dataclasses.replace(config, **filled)


def _check_members(
    config: OdsConfig, method: str, members: int | None, teachers: list[str]
) -> None:
    if method != "one_to_one" and (members is None or members > 1):
        return
    if len(teachers) == 1:
        raise ConfigError(
            f"--teachers {config.teachers} has one student that teaches, which makes no BatchEnsemble of "
            "several; take more, or use --student single, or --method mean with --members"
        )
    if members == len(teachers):
        return
    how = f"choose {members} of them by --choose, such as --choose {','.join(teachers[:members])}"
    if members is not None and members > len(teachers):
        how = f"use --members {len(teachers)}, or --method mean"
    raise ConfigError(
        f"--members is {members}, but {len(teachers)} students of --teachers {config.teachers} teach, and "
        f"one_to_one needs as many; {how}"
    )


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
