"""The configuration of a cohort: what `cohort train` and `train_cohort` take."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

from cohort.config import (
    LOCAL,
    Mimicry,
    RunConfig,
    Teacher,
    check_address,
    check_capture,
    is_of_run,
    mimicry_beta,
    not_empty,
    not_negative,
    positive,
)
from cohort.data.recipes import fill_in, recipe_for
from cohort.errors import ConfigError
from cohort.invocation import command_line
from cohort.models.spec import Network, WithMembers, parse_spec

Schedule = Literal["simultaneous", "sequential"]
Exchange = Literal["object_store", "collective", "in_process"]
Aggregate = Literal["auto", "gather", "sum"]
WirePrecision = Literal["fp32", "fp16"]
OnFailure = Literal["restart", "drop", "stop"]

MOST_STUDENTS = 10**6
"""More than any cluster has places for, and few enough to count them."""


@dataclass(frozen=True, kw_only=True)
class CohortConfig(RunConfig):
    """K students learn the same task at once, each also from its peers' posteriors."""

    EXTENDABLE: ClassVar[tuple[str, ...]] = (
        *RunConfig.EXTENDABLE,
        "on_failure",
        "max_failures",
        "address",
        "gpus",
        "per_process",
        "exchange",
        "baseline",
    )

    k: int = 2
    """Students in the cohort. More than there are cores (or GPUs) share them, and a process."""
    gpus: int | None = None
    """GPUs for the cohort in total; fewer than K are shared. Default: all that Ray sees, 0 if none."""
    per_process: int | None = None
    """At most so many students in a process; 1 gives each its own. Default: all that share a GPU, or a core (or --threads cores)."""  # noqa: E501
    balance: bool = False
    """Divide unlike students among processes, and cores among these, by what their networks cost, so that no process waits long for another. Default: all alike."""  # noqa: E501
    students: Network | tuple[Network, ...] | None = None
    """One network for all students, or K of them with commas between: a name (resnet32, wrn_28_10, mobilenet, inception_v1, any torchvision classifier, timm:NAME) or package.module:function, each with +exits or +exits=PLACE/PLACE behind it to have exits that learn from its deepest one. Default: the data set's recipe."""  # noqa: E501
    teacher: Teacher = "peers"
    """What a student mimics: each of its K-1 peers, the ensemble of their posteriors, the ensemble_logits (softmax of their mean logit), of all K students kdcl_naive (for each example, the one whose cross-entropy is least) or kdcl_minlogit (for each class, the least logit beside that of the right one), or none."""  # noqa: E501
    schedule: Schedule = "simultaneous"
    """All students predict, then all learn; or sequential, one after the other with re-prediction (the paper's Algorithm 1)."""  # noqa: E501
    temperature: float = 1.0
    """T that softens the posteriors in the mimicry loss, which is scaled by T squared."""
    mimicry: Mimicry = "kl"
    """How: kl (Kullback-Leibler divergence), dkd (that of the right class against the rest, and of the rest among themselves, decoupled), or dist (correlation of posteriors, example by example and class by class)."""  # noqa: E501
    mimicry_weight: float = 1.0
    """Weight of the mimicry loss beside the supervised loss."""
    mimicry_beta: float | None = None
    """Weight of the second term of dkd or dist beside its first one. Default: 8 for dkd, 1 for dist."""
    standardise: bool = False
    """Mimic posteriors of standardised logits: of mean 0 and standard deviation 1 in each example, before the temperature."""  # noqa: E501
    exchange: Exchange = "object_store"
    """How posteriors travel: Ray's object_store, a torch.distributed collective, or in_process without Ray. All give the same students."""  # noqa: E501
    aggregate: Aggregate = "auto"
    """What travels between processes: gather, each student's posterior; sum, that of the posteriors of each process and of their entropies, which teaches the same, but rounds differently in each division of the students; auto, which sums where that saves half of 4 MiB or more a step."""  # noqa: E501
    wire: WirePrecision = "fp32"
    """In which precision it travels: fp32, or fp16, which is half as much."""
    on_failure: OnFailure = "restart"
    """When a process dies, and its students with it: restart them from the last checkpoint, drop them, or stop the run."""  # noqa: E501
    max_failures: int = 3
    """Deaths of processes after which the run stops all the same."""
    address: str | None = None
    """Running Ray cluster to join: auto or host:port; local, the default, starts a Ray of the run's own."""
    baseline: bool = False
    """Afterwards train the same students alone (--teacher none) into RUN_DIR/alone and compare."""

    def __post_init__(self) -> None:
        RunConfig.__post_init__(self)
        positive(self, "k", "temperature", "per_process")
        not_negative(self, "gpus", "mimicry_weight", "mimicry_beta", "max_failures")
        not_empty(self, "students", "address")
        check_address(self.address)
        check_capture(self, self.gpus)
        _check_cohort(self)
        _check_mimicry(self)

    @classmethod
    def of_earlier(cls, values: dict[str, Any], file: object) -> dict[str, Any]:
        """Raises ConfigError for students with exits whose hints were another mean."""
        students = str(values.get("students"))
        if is_of_run(values) and "mimicry" not in values and "+exits" in students:
            raise ConfigError(
                f"{file} is of a run whose students, {students}, have exits, and of a version that divided "
                "their hints by the number of features; start a new run without this file"
            )
        return values

    @property
    def sum_is_enough(self) -> bool:
        """Whether a student needs no more of its peers than their sum."""
        return self.mimicry == "kl" and not self.teacher.startswith("kdcl")

    @property
    def in_this_process(self) -> bool:
        """Whether the students train in the process that starts the run, without Ray."""
        return self.exchange == "in_process"

    @property
    def networks(self) -> tuple[Network, ...]:
        """The network of each of the K students."""
        named = _as_tuple(self.students or recipe_for(self.dataset).network)
        return named * self.k if len(named) == 1 else named


def resolve(config: CohortConfig) -> CohortConfig:
    """The config with every key that was left to the data set's recipe filled in."""
    recipe = recipe_for(config.dataset)
    return replace(
        fill_in(config, recipe),
        students=config.students or recipe.network,
        mimicry_beta=mimicry_beta(config.mimicry, config.mimicry_beta),
    )


def _as_tuple(students: Network | tuple[Network, ...]) -> tuple[Network, ...]:
    if isinstance(students, str):
        return tuple(name.strip() for name in students.split(","))
    return students if isinstance(students, tuple) else (students,)


def _check_cohort(config: CohortConfig) -> None:
    if config.k > MOST_STUDENTS:
        raise ConfigError(f"--k is {config.k}; it must be {MOST_STUDENTS} or less")
    if config.k == 1 and config.teacher != "none":
        raise ConfigError(
            f"--k is 1 with --teacher {config.teacher}: a student alone has no peers; "
            "use --k 2 or more, or --teacher none"
        )
    if "" in config.networks:
        raise ConfigError(
            f"--students is {config.students!r}, which has no name between two commas"
        )
    if len(config.networks) != config.k:
        raise ConfigError(
            f"--students names {len(config.networks)} networks; "
            f"it must name 1, for all students, or --k = {config.k}"
        )
    if len(config.pretrained_files) not in (1, config.k):
        raise ConfigError(
            f"--pretrained names {len(config.pretrained_files)} files; it must name 1, for all students, "
            f"or --k = {config.k}, - for a student that starts anew"
        )
    for spec in map(partial(parse_spec, flag="--students"), config.networks):
        if isinstance(spec, WithMembers):
            raise ConfigError(
                f"--students is {spec.written_name!r}, a batch ensemble, which is trained by "
                f"{command_line('ods-distill')}; name a network without +members here"
            )
    if config.teacher == "none" and config.schedule == "sequential":
        raise ConfigError(
            "--schedule is sequential with --teacher none, whose students have no turns to wait for; "
            "leave one of them out"
        )
    if config.exchange == "in_process" and (config.gpus or 0) > 1:
        raise ConfigError(
            f"--gpus is {config.gpus} with --exchange in_process, which runs on one device; "
            "use --gpus 0 or 1, or another --exchange"
        )
    if config.exchange == "in_process" and (config.per_process or config.k) < config.k:
        raise ConfigError(
            f"--per-process is {config.per_process} with --exchange in_process, where all {config.k} "
            f"students are in one process; use --per-process {config.k}, or another --exchange"
        )
    if config.teacher == "none":
        check_nothing_travels(config, "--teacher is none", "name a teacher")
    if config.exchange == "in_process":
        check_nothing_travels(config, "--exchange is in_process", "use another --exchange")
    if config.balance:
        _check_balance(config)
    if config.exchange == "in_process" and config.address not in (None, LOCAL):
        raise ConfigError(
            f"--address is {config.address!r} with --exchange in_process, which uses no cluster; "
            "leave one of them out, or use --address local"
        )


def _check_mimicry(config: CohortConfig) -> None:
    """Raise ConfigError for a way to mimic that nobody goes, or that a sum is not enough for."""
    mimicry_beta(config.mimicry, config.mimicry_beta)  # refuses one without a second term
    how = f"--mimicry is {config.mimicry}" if config.mimicry != "kl" else "--standardise is on"
    if config.teacher == "none" and (config.mimicry != "kl" or config.standardise):
        raise ConfigError(
            f"{how} with --teacher none, whose students mimic nobody; leave it out, or name a teacher"
        )
    if config.aggregate == "sum" and not config.sum_is_enough:
        who = f"--teacher is {config.teacher}" if config.mimicry == "kl" else how
        raise ConfigError(
            f"{who} with --aggregate sum, of which only --mimicry kl from peers, ensemble or "
            "ensemble_logits can learn; use --aggregate gather"
        )


def check_nothing_travels(config: CohortConfig, why: str, instead: str) -> None:
    """Raise ConfigError for a config that says how posteriors travel, where none do."""
    if config.aggregate == "sum":
        asked = "--aggregate is sum"
    elif config.wire != "fp32":
        asked = f"--wire is {config.wire}"
    else:
        return
    raise ConfigError(
        f"{asked}, but {why}, so that no posterior travels between processes; leave it out, or {instead}"
    )


def check_one_process(config: CohortConfig, hosts: int) -> None:
    """Raise ConfigError for sums or half precision where all students are in one process."""
    if hosts == 1:
        check_nothing_travels(
            config, "all students share one process", "divide them by --per-process 1"
        )


def _check_balance(config: CohortConfig) -> None:
    """Raise ConfigError for what says otherwise how students and cores are divided."""
    others = {
        "exchange in_process, where all students are in one process": config.in_this_process,
        f"per-process {config.per_process}, which divides them by number": config.per_process,
        f"threads {config.threads}, which gives all processes as many": config.threads,
        "schedule sequential, whose students take turns": config.schedule == "sequential",
    }
    for what, given in others.items():
        if given:
            raise ConfigError(f"--balance is on with --{what}; leave one of them out")
