"""What every run shares: its data, its training, its folder. One field is one flag is one YAML key.

A field that is ``None`` takes the data set's recipe (``cohort.data.recipes``); a resolved config has
no such field left. The text under a field is its ``--help``.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from cohort.errors import ConfigError, brief
from cohort.files import refuse_uri

Optimizer = Literal["sgd", "momentum", "adam", "adamw"]
LrSchedule = Literal["step", "thirds", "linear", "cosine", "constant"]
Precision = Literal["fp32", "tf32", "bf16"]
Capture = Literal["auto", "on", "off"]
DecayOn = Literal["all", "weights"]
Teacher = Literal["peers", "ensemble", "ensemble_logits", "kdcl_naive", "kdcl_minlogit", "none"]
Mimicry = Literal["kl", "dkd", "dist"]
Perturbation = Literal["none", "gaussian", "ods", "conf_ods"]
Crop = Literal["shift", "resized", "none"]
Padding = Literal["reflect", "zeros"]
Feed = Literal["memory", "node"]
Distance = Literal["euclidean", "cosine"]
OdsNorm = Literal["rms", "l2"]
HintDistance = Literal["sum", "mean"]
LOCAL = "local"
"""The address that joins no running cluster."""
SIDES = re.compile(r"(?P<height>0*[1-9][0-9]{0,5})([xX](?P<width>0*[1-9][0-9]{0,5}))?")
TRACKERS = ("tensorboard", "mlflow", "wandb")
"""What may be told of a run as it goes."""
LARGEST = 2**63 - 1
"""Of whole numbers: more would overflow wherever they are counted with in 64 bits."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which pictures are learned from."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # for cohort.config_file

    dataset: str | Callable[..., Any] = "digits"
    """digits, cifar10, cifar100, tiny-imagenet, imagenet, market1501, folder (class per directory), synthetic, synthetic-people, or package.module:function."""  # noqa: E501
    data_root: str = "data"
    """Directory where the data set lies, or is downloaded to."""
    download: bool = False
    """Download the data set to --data-root if it is not there (needs a network)."""
    image_size: int | str | None = None
    """Size to which pictures in files are cropped and resized, or of which synthetic ones are made: N,
    or HEIGHTxWIDTH for files. Default: the data set's own; 32 for a folder and synthetic."""
    train_subset: int | None = None
    """Train on the first N of a seeded shuffle of the training split. Default: all."""
    test_subset: int | None = None
    """Test on the first N of a seeded shuffle of the test split. Default: all."""
    data_seed: int | None = None
    """Seed of the shuffles behind --train-subset and --test-subset. Default: --seed."""
    validation: int | None = None
    """Hold out the last N training images, never trained on: the same ones whatever the seed and
    --train-subset, which takes from the rest. Where the files lie class after class, the last N of a
    fixed shuffle. Runs are evaluated on them too, jobs keep the student
    that does best on them, evaluation fits a temperature on them. Default: none."""
    autoaugment: bool = False
    """Also change each training picture by AutoAugment's CIFAR-10 policy: shift, shear, rotation,
    brightness, contrast, colour."""
    cutout: int | None = None
    """Also blacken a square of so many pixels a side at a random place of each training picture.
    Default: none."""
    crop: Crop | None = None
    """How each training picture is cut anew at every step: shift (moved by some pixels), resized (a
    random part of 8 to 100 % of a picture in a file, resized), or none. Default: the data set's own."""
    padding: Padding | None = None
    """What fills the border from which a shifted picture came: reflect (its mirror image) or zeros (black,
    as in the code of ODS distillation's authors). Default: the data set's own."""
    color_jitter: float | None = None
    """Also change brightness, contrast and saturation of each training picture by a random factor
    within 1 ± X. Default: none."""
    erasing: float | None = None
    """Also fill a random rectangle of a training picture with noise, with probability X (Random
    Erasing). Default: none."""
    feed: Feed | None = None
    """Where pictures in files are decoded: all of them at the start into memory, or batch after batch
    by one process on each node, some batches ahead. Default: node where they would take more than a
    quarter of this machine's memory, or --crop is resized."""
    decoders: int | None = None
    """Threads that decode on a node with --feed node; on Ray, more than 3 in several processes. Default:
    the cores that training leaves free, at least 1."""
    skip_broken: bool = False
    """Go on without pictures that cannot be read, and record which; every file is decoded once at the
    start to find them."""
    distance: Distance = "euclidean"
    """Between features, where people are looked for (market1501, synthetic-people): euclidean or cosine."""

    def __post_init__(self) -> None:
        positive(self, "train_subset", "test_subset", "validation", "cutout", "decoders")
        not_negative(self, "data_seed")
        not_empty(self, "data_root")
        refuse_uri(self.data_root, "--data-root")
        shares(self, "color_jitter", "erasing")
        if self.image_size is not None:
            height, width = height_and_width(self.image_size)
            # As it is written in a file, whatever the command line made of it.
            size = height if height == width else f"{height}x{width}"
            object.__setattr__(self, "image_size", size)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a network learns; None means as the data set's recipe says."""

    epochs: int | None = None
    """Passes over the training split; the learning-rate schedule spans them.
    Default: the data set's recipe."""
    steps: int | None = None
    """Stop after this many steps, though the schedule spans all epochs. Default: no early stop."""
    batch_size: int | None = None
    """Images a step; every student sees the same ones. Default: the data set's recipe."""
    lr: float | None = None
    """Learning rate at the start. Default: the data set's recipe."""
    weight_decay: float | None = None
    """L2 penalty on the parameters that --decay-on names. Default: the data set's recipe."""
    decay_on: DecayOn = "all"
    """all parameters, as the papers have it, or weights only: not biases and normalisation."""
    optimizer: Optimizer | None = None
    """sgd (Nesterov momentum 0.9), momentum (0.9 without Nesterov), adam (betas 0.5, 0.999), or
    adamw (betas 0.9, 0.999, decoupled weight decay). Default: the data set's recipe."""
    lr_schedule: LrSchedule | None = None
    """step (x0.1 at 30, 60 and 90 % of the epochs), thirds (x0.1 at 1/3, 2/3 and 96 %), linear (flat
    to half of the epochs, then linearly to a hundredth at 90 %, then flat), cosine (to 0), or
    constant. Default: the data set's recipe."""
    warmup_epochs: float | None = None
    """Epochs over which the learning rate rises linearly from a hundredth of --lr, before it
    follows --lr-schedule; may be a fraction. Default: the recipe's, 0 for mutual learning and
    self-distillation."""
    seed: int = 0
    """Student k starts from (seed, k); data order and augmentation from seed."""
    label_smoothing: float = 0.0
    """Share of each label that is spread evenly over all classes, from 0 to below 1, in the
    cross-entropy of training (ce in metrics.jsonl), not of evaluation."""
    clip_grad_norm: float | None = None
    """Scale the gradient of all that is trained down to this L2 norm where it is longer.
    Default: none."""
    precision: Precision = "fp32"
    """fp32, also on a GPU; tf32 in a GPU's convolutions and matrix products; or bf16 autocast with fp32
    weights. Everything is evaluated in fp32."""
    capture: Capture = "auto"
    """Launch the step of all students of a GPU as one CUDA graph, captured at the start: auto (where the
    networks allow it, on one worker), on (or the run fails), or off (kernel by kernel)."""
    compile: bool = False
    """Compile what each student computes on a training batch by torch.compile, which makes steps
    faster on a GPU after half a minute or more at every start; needs a compiler."""
    threads: int | None = None
    """Torch threads per student or worker on CPU. Default: cores divided among them, at least 1."""

    def __post_init__(self) -> None:
        positive(self, "epochs", "steps", "batch_size", "lr", "clip_grad_norm", "threads")
        not_negative(self, "weight_decay", "warmup_epochs", "seed")
        shares(self, "label_smoothing")


@dataclass(frozen=True, kw_only=True)
class RunConfig(DataConfig, TrainingConfig):
    """Data, training, and where the run is written."""

    EXTENDABLE: ClassVar[tuple[str, ...]] = (
        "epochs",
        "steps",
        "keep",
        "threads",
        "data_root",
        "feed",
        "decoders",
        "log_to",
        "tensorboard",
        "capture",
        "compile",
        "hang_after",
        "trust_code",
    )
    """Keys that may differ when a run is resumed: how far it goes, and where and how it is run."""

    pretrained: str | None = None
    """File of weights that students start from: safetensors, a torch state dict, or the folder of a
    student. One for all, or one per student with commas between, - for none. What fits by name and
    shape is loaded; a classifier of other classes stays new. Default: random numbers."""
    checkpoint_every: int | None = None
    """Steps between checkpoints. Default: one epoch."""
    keep: int = 2
    """Newest checkpoints kept."""
    eval_every: int | None = None
    """Steps between evaluations on the test split. Default: one epoch."""
    log_every: int = 10
    """Steps averaged into one line of metrics.jsonl per student."""
    log_to: str | None = None
    """Trackers that are sent what metrics.jsonl has, with commas between: tensorboard, mlflow, wandb (each
    an extra: pip install 'cohort[mlflow]'). They write into the run folder, MLflow where MLFLOW_TRACKING_URI
    says, if it does, and W&B online if WANDB_MODE says so. Default: none."""
    tensorboard: bool = False
    """The same as --log-to tensorboard."""
    hang_after: float | None = None
    """Seconds without an answer after which processes are looked at: one that was stopped, or all that
    are stuck, are ended like those that die; a slow one is waited for. Default: 30, or ten times the
    longest that an answer took."""
    run_dir: str | None = None
    """Folder of this run, or its URI on a storage, such as s3://BUCKET/RUN; must not hold another run.
    Default: runs/<name>-<time>."""
    trust_code: bool = False
    """Run the code that files name, as package.module:function: networks and data sets in the file of
    --config, in the folder of --resume, and in those of teachers. No file can say so itself. Default:
    only code that is named on the command line, for files may come from anywhere."""

    def __post_init__(self) -> None:
        DataConfig.__post_init__(self)
        TrainingConfig.__post_init__(self)
        positive(self, "checkpoint_every", "keep", "eval_every", "log_every", "hang_after")
        not_empty(self, "run_dir")
        if self.hang_after is not None and self.in_this_process:
            raise ConfigError(
                f"--hang-after is {self.hang_after:g}, but this process trains by itself and waits for no "
                "other; leave it out"
            )
        _ = self.pretrained_files, self.trackers  # refuses what are none

    @classmethod
    def of_earlier(cls, values: dict[str, Any], file: object) -> dict[str, Any]:
        """The keys and values of a config file, as this version writes what they meant.

        Raises ConfigError, naming the file, for what cannot be written any more.
        """
        return values

    @property
    def pretrained_files(self) -> tuple[str | None, ...]:
        """The file of all students, or of each; None for one that starts anew."""
        if self.pretrained is None:
            return (None,)
        names = [name.strip() for name in self.pretrained.split(",")]
        if not all(names) or all(name == "-" for name in names):
            raise ConfigError(
                f"--pretrained is {self.pretrained!r}; it must be a file of weights, or one per student "
                "with commas between, - for a student that starts anew"
            )
        return tuple(None if name == "-" else name for name in names)

    @property
    def trackers(self) -> tuple[str, ...]:
        """The trackers that are told of the run, each once."""
        names = [] if self.log_to is None else [name.strip() for name in self.log_to.split(",")]
        if unknown := [name for name in names if name not in TRACKERS]:
            raise ConfigError(
                f"--log-to has {unknown[0]!r}; it must be one or more of {', '.join(TRACKERS)}, with "
                "commas between"
            )
        return tuple(dict.fromkeys([*names, *["tensorboard"] * self.tensorboard]))

    @property
    def in_this_process(self) -> bool:
        """Whether the process that starts the run trains, without Ray."""
        return True


def is_of_run(values: Mapping[str, Any]) -> bool:
    """Whether a config file's values are those that a run wrote down, where every key of it stands.

    It says nothing of its folder, so that it repeats the run elsewhere.
    """
    return values.get("run_dir", ...) is None


def height_and_width(size: int | str) -> tuple[int, int]:
    """Of an ``image_size``: N, or HEIGHTxWIDTH. Raises ConfigError for anything else."""
    sides = SIDES.fullmatch(str(size))
    if sides is None:
        raise ConfigError(
            f"--image-size is {brief(size)}; it must be N or HEIGHTxWIDTH, in pixels, each greater "
            "than 0, of at most 6 digits"
        )
    return int(sides["height"]), int(sides["width"] or sides["height"])


def data_keys(config: DataConfig) -> dict[str, Any]:
    """The keys that say which pictures are learned from, for another config."""
    return {field.name: getattr(config, field.name) for field in fields(DataConfig)}


def check_precision(precision: Precision, *, on_gpu: bool) -> None:
    """Raise ConfigError for tf32 without a GPU, where it would be fp32."""
    if precision == "tf32" and not on_gpu:
        raise ConfigError(
            "--precision is tf32, which only a GPU has, and this trains on CPU; use fp32 or bf16, or "
            "a machine with a GPU"
        )


def positive(config: object, *keys: str) -> None:
    """Raise ConfigError for a key whose value is neither None nor above zero, finite and countable."""
    for key in keys:
        value = getattr(config, key)
        if value is not None and not 0 < value < float("inf"):
            raise ConfigError(
                f"{flag(key)} is {brief(value)}; it must be greater than 0{_finite(value)}"
            )
        _check_countable(flag(key), value)


def not_negative(config: object, *keys: str) -> None:
    """Raise ConfigError for a key whose value is neither None nor zero or above, finite and countable."""
    for key in keys:
        value = getattr(config, key)
        if value is not None and not 0 <= value < float("inf"):
            raise ConfigError(
                f"{flag(key)} is {brief(value)}; it must be 0 or greater{_finite(value)}"
            )
        _check_countable(flag(key), value)


def _finite(value: float) -> str:
    return ", and finite" if value == float("inf") else ""


def _check_countable(name: str, value: Any) -> None:
    if isinstance(value, int) and value > LARGEST:
        raise ConfigError(f"{name} is {brief(value)}; it must be at most {LARGEST}")


def not_empty(config: object, *keys: str) -> None:
    """Raise ConfigError for a key that is text without a character, as of an unset variable."""
    for key in keys:
        if getattr(config, key) == "":
            raise ConfigError(f"{flag(key)} is ''; it must not be empty")


def shares(config: object, *keys: str) -> None:
    """Raise ConfigError for a key whose value is neither None nor from 0 to below 1."""
    for key in keys:
        value = getattr(config, key)
        if value is not None and not 0 <= value < 1:
            raise ConfigError(f"{flag(key)} is {value}; it must be 0 or greater, and less than 1")


SECOND_TERM: Mapping[Mimicry, float] = {"dkd": 8.0, "dist": 1.0}
"""Usual weight of the second term of a mimicry that has one."""


def mimicry_beta(mimicry: Mimicry, given: float | None) -> float | None:
    """The weight of its second term, or None if it has none. Raises ConfigError for one that it lacks."""
    if given is not None and mimicry not in SECOND_TERM:
        raise ConfigError(
            f"--mimicry-beta is {given} with --mimicry {mimicry}, which has no second term; leave it out, "
            f"or use --mimicry {' or '.join(SECOND_TERM)}"
        )
    return SECOND_TERM.get(mimicry) if given is None else given


def check_capture(config: TrainingConfig, gpus: int | None) -> None:
    """Raise ConfigError for a capture that ``--gpus 0`` rules out."""
    if config.capture == "on" and gpus == 0:
        raise ConfigError(
            "--capture is on with --gpus 0, but CUDA graphs are a GPU's; leave one of them out"
        )


def check_address(address: str | None) -> None:
    """Raise ConfigError for the address of a cluster that no cluster can have."""
    if address in (None, LOCAL, "auto"):
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 2**16:
        raise ConfigError(
            f"--address is {brief(address)}; it must be auto or host:port of a running cluster, or local"
        )


def flag(key: str) -> str:
    """The command-line flag of a config key."""
    return "--" + key.replace("_", "-")
