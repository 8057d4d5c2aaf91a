"""The configuration of `cohort ods-distill` and `ods_distill`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from cohort.config import OdsNorm, Perturbation, flag, not_empty, not_negative, positive
from cohort.errors import ConfigError
from cohort.imports import written_name
from cohort.jobs.config import JobConfig
from cohort.models.spec import MOST_MEMBERS, MemberInit, PlainNetwork

StudentKind = Literal["be", "single"]
Method = Literal["one_to_one", "mean", "labels"]

OF_TEACHERS = "teachers"
"""Instead of a data set's name: the one that the teachers learned."""

LOSS_TERMS = ("perturbation", "eta", "ods_norm", "alpha", "tau")
"""Keys that mean nothing where labels alone teach."""


@dataclass(frozen=True, kw_only=True)
class OdsConfig(JobConfig):
    """From a deep ensemble to one BatchEnsemble, on inputs at which the teachers differ."""

    EXTENDABLE: ClassVar[tuple[str, ...]] = (*JobConfig.EXTENDABLE, "teachers", "teacher_pool")

    dataset: str | Callable[..., Any] = OF_TEACHERS
    """teachers: the data that they learned, with the subsets, the validation split and the image size of their run, where --train-subset, --test-subset, --validation, --data-seed, --image-size and --data-root do not say otherwise. Or digits, cifar10, cifar100, tiny-imagenet, imagenet, folder (class per directory), synthetic, or package.module:function."""  # noqa: E501
    teachers: str | None = None
    """Folder, or URI, of a finished run whose students teach: of `cohort train --teacher none`."""
    choose: str | int | tuple[int, ...] | None = None
    """Numbers of the students that teach, with commas between, such as 0,2,3. Default: all of the run's."""
    student: StudentKind = "be"
    """be (a BatchEnsemble: one network, of which every member has its own rank-one factors) or single (a plain network)."""  # noqa: E501
    model: PlainNetwork | None = None
    """The network that is made a student: a name or package.module:function. Default: the teachers'."""
    members: int | None = None
    """Members of the BatchEnsemble. Default: as many as there are teachers."""
    init: MemberInit = "normal"
    """How the members' factors begin: normal, N(1, 0.5), or random sign."""
    method: Method | None = None
    """one_to_one (member j learns from teacher j), mean (all learn from the ensemble's mean posterior), or labels (no distillation; the teachers are only what the student is measured against). Default: one_to_one for be, mean for single."""  # noqa: E501
    perturbation: Perturbation | None = None
    """Perturbation of the inputs on which the teachers are imitated: none, gaussian, ods (where one teacher's outputs change most), or conf_ods (the same, scaled by its confidence). Default: conf_ods."""  # noqa: E501
    eta: float | None = None
    """Size of the perturbation in 1/255 of the pixels' range. Default: 1."""
    ods_norm: OdsNorm | None = None
    """What has size 1 before --eta: rms, the root mean square over pixels (authors' code), or l2, the Euclidean norm (paper). Default: rms."""  # noqa: E501
    alpha: float | None = None
    """Weight of the teachers' posteriors in the loss, 1 - alpha that of the labels. Default: 0.9."""
    tau: float | None = None
    """Temperature that softens both posteriors in the divergence, which is scaled by its square; ODS takes the same. Default: 1 for cifar100, as the paper has it, else 4."""  # noqa: E501
    teacher_pool: int | None = None
    """Actors, each on a core or GPU of its own, that hold the teachers and serve their posteriors to all workers, for an ensemble that does not fit beside the student. Default: each worker has all teachers."""  # noqa: E501
    stacked_teachers: bool = False
    """Evaluate the teachers, if they are of one network, in one batched call (torch.func) instead of one after another."""  # noqa: E501

    def __post_init__(self) -> None:
        JobConfig.__post_init__(self)
        positive(self, "tau", "teacher_pool")
        not_negative(self, "eta")
        not_empty(self, "teachers", "model")
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise ConfigError(f"--alpha is {self.alpha}; it must be from 0 to 1")
        _ = self.chosen  # refuses what are not numbers
        self._check_student()
        self._check_method()
        self._check_pool()

    @property
    def chosen(self) -> tuple[int, ...] | None:
        """Numbers of the teachers, if the user says which."""
        if self.choose is None:
            return None
        given = str(self.choose) if isinstance(self.choose, int) else self.choose
        numbers = given.split(",") if isinstance(given, str) else given
        try:
            chosen = tuple(int(number) for number in numbers)
        except ValueError:
            chosen = ()
        if not chosen:
            raise ConfigError(
                f"--choose is {self.choose!r}; it must be numbers of students with commas between, "
                "such as 0,2,3"
            )
        return chosen

    def _check_student(self) -> None:
        if self.model is not None and "+" in (name := written_name(self.model)):
            raise ConfigError(
                f"--model is {name!r}; here it is the network's name alone: its members come "
                "from --student be --members N"
            )
        if self.student == "be" and self.pretrained is not None:
            raise ConfigError(
                f"--pretrained is {self.pretrained!r} with --student be, whose members multiply the weights "
                "by random factors of their own; leave it out, or use --student single"
            )
        if self.student == "single":
            for key, default in (("members", None), ("init", "normal")):
                if getattr(self, key) != default:
                    raise ConfigError(
                        f"{flag(key)} is {getattr(self, key)} with --student single, which has no "
                        "members; leave it out, or use --student be"
                    )
            if self.method == "one_to_one":
                raise ConfigError(
                    "--method is one_to_one with --student single, which is one and the teachers "
                    "are several; use --method mean, or --student be"
                )
        if self.members is not None and self.members not in range(2, MOST_MEMBERS + 1):
            raise ConfigError(
                f"--members is {self.members}; it must be from 2 to {MOST_MEMBERS}; one is --student single"
            )

    def _check_method(self) -> None:
        if self.method == "labels":
            for key in LOSS_TERMS:
                value = getattr(self, key)
                if value is not None and (key, value) != ("perturbation", "none"):
                    raise ConfigError(
                        f"{flag(key)} is {value} with --method labels, whose loss has no such term; "
                        "leave it out"
                    )
        if self.perturbation == "none" and self.eta is not None:
            raise ConfigError(
                f"--eta is {self.eta} with --perturbation none; leave one of them out"
            )
        if self.ods_norm is not None and self.perturbation in ("none", "gaussian"):
            raise ConfigError(
                f"--ods-norm is {self.ods_norm} with --perturbation {self.perturbation}, which has "
                "no direction; leave one of them out"
            )

    def _check_pool(self) -> None:
        if self.teacher_pool is None:
            return
        if self.workers == 0:
            raise ConfigError(
                f"--teacher-pool is {self.teacher_pool} with --workers 0, which uses no cluster; use "
                "--workers 1 or more, or leave it out"
            )
        if self.method == "labels":
            raise ConfigError(
                f"--teacher-pool is {self.teacher_pool} with --method labels, which asks no teacher; "
                "leave it out"
            )
