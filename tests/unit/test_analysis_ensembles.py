"""Diversity, transfer and Jacobians of runs with several members, on tiny networks."""

import itertools
import math

import pandas as pd
import pytest
import torch
import yaml
from torch import nn

from cohort import CohortConfig
from cohort.analysis.analyse import analyse
from cohort.analysis.analyses.diversity import analyse as analyse_diversity
from cohort.analysis.groups import grouped
from cohort.analysis.jacobians import jacobian_match, projections
from cohort.analysis.members import (
    count_members,
    diversity_of_others,
    kl_to_clean,
    member_log_posteriors,
    members_of,
)
from cohort.analysis.options import AnalyseOptions
from cohort.config_file import to_yaml
from cohort.data.dataset import Split
from cohort.data.registry import load_dataset
from cohort.errors import ConfigError
from cohort.learning.learner import WEIGHTS_FILE, weights_bytes
from cohort.learning.student_files import CARD_FILE, ModelCard
from cohort.metrics.diversity import diversity
from cohort.models.registry import build_student
from cohort.objectives.perturbation import InputPerturbation
from cohort.run.finished import load_run, load_teachers
from cohort.run.folder import RunFolder

CPU = torch.device("cpu")
CONFIG = CohortConfig(k=1, teacher="none", train_subset=150, test_subset=90)


def make_run(folder, specs, **more):
    """The folder of a finished run of untrained students on a few digits."""
    data = load_dataset(CONFIG, 0)
    of_data = {"image_shape": data.image_shape, "mean": data.mean, "std": data.std}
    for number, spec in enumerate(specs):
        student = build_student(spec, num_classes=10, seed=0, student=number, **of_data)
        student(torch.rand(16, *data.image_shape))
        card = ModelCard(network=spec, dataset="digits", classes=data.classes, **of_data)
        files = folder / "students" / str(number)
        files.mkdir(parents=True)
        (files / WEIGHTS_FILE).write_bytes(weights_bytes(student))
        (files / CARD_FILE).write_text(card.to_json())
    (folder / "config.yaml").write_text(to_yaml(CONFIG) + yaml.safe_dump(more) * bool(more))
    return folder


@pytest.fixture(autouse=True)
def drawings(monkeypatch):
    """Figures are drawn, but not written, which takes longer than all else: see test_analysis_figures."""

    def name(figure, path):
        return [path.with_name(f"{path.name}.{suffix}") for suffix in ("svg", "png")]

    monkeypatch.setattr("cohort.analysis.analyse.save", name)


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "teachers", ["resnet8"] * 3)


@pytest.fixture(scope="module")
def taught(tmp_path_factory, teachers):
    """A batch ensemble of two members, taught by teachers 2 and 0."""
    folder = tmp_path_factory.mktemp("runs") / "ods"
    return make_run(folder, ["resnet8+members=2"], teachers=str(teachers), choose=[2, 0])


def options_for(out, *runs, **more):
    return AnalyseOptions(
        runs=tuple(map(str, runs)), output=str(out), **{"examples": 80, "draws": 2} | more
    )


def linear(rows):
    """Logits that are a matrix times the pixels."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(len(rows[0]), len(rows), bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor(rows))
    return network.eval()


def small_networks(count, seed=0, classes=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return [
            nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, classes)).eval()
            for _ in range(count)
        ]


def full_jacobians(network, images):
    """Of the posterior, by torch.func, [B, C * D]."""

    def posterior(image):
        return network(image[None]).softmax(1)[0]

    return torch.func.vmap(torch.func.jacrev(posterior))(images).flatten(1).detach()


def test_projections_are_the_full_jacobian_times_v():
    (network,), images = small_networks(1), torch.rand(5, 1, 2, 2)
    v_VBC = torch.randn(4, 5, 3)
    full = full_jacobians(network, images).view(5, 3, 4)
    expected = torch.einsum("vbc,bcd->vbd", v_VBC, full)
    found = projections(network, images, v_VBC)
    torch.testing.assert_close(found.flatten(2), expected, rtol=1e-4, atol=1e-6)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not images.requires_grad


def test_projections_by_all_signs_have_the_full_jacobians_norm():
    """The mean over every vector of signs is the expectation, without error."""
    (network,), images = small_networks(1), torch.rand(5, 1, 2, 2)
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=3)))
    found = projections(network, images, signs[:, None].expand(-1, 5, -1))
    expected = full_jacobians(network, images).square().sum(1)
    torch.testing.assert_close(found.square().flatten(2).sum(2).mean(0), expected)


def test_jacobian_match_approaches_that_of_full_jacobians():
    students, teachers = small_networks(2, seed=0), small_networks(3, seed=1)
    images = torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    batches = images.split([4, 2])
    match = jacobian_match(students, teachers, batches, classes=3, draws=600, seed=0)
    assert match.cosine.shape == match.relative_error.shape == (2, 3)
    for s, t in itertools.product(range(2), range(3)):
        own, other = (full_jacobians(n, images).flatten() for n in (students[s], teachers[t]))
        error = float((own - other).square().sum() / other.square().sum())
        assert float(match.relative_error[s, t]) == pytest.approx(error, rel=0.06)
        cosine = float(torch.cosine_similarity(own, other, dim=0))
        assert float(match.cosine[s, t]) == pytest.approx(cosine, abs=0.03)


def test_jacobian_match_of_equals_and_of_the_insensible():
    network, images = small_networks(1)[0], torch.rand(3, 1, 2, 2)
    still = linear([[0.0] * 4] * 3)
    match = jacobian_match([network, still], [network], [images], classes=3, draws=1, seed=0)
    assert match.relative_error[:, 0].tolist() == pytest.approx([0, 1], abs=1e-9)
    assert float(match.cosine[0, 0]) == pytest.approx(1)
    assert math.isnan(match.cosine[1, 0])
    with pytest.raises(ValueError, match="no images"):
        jacobian_match([network], [network], [], classes=3, draws=1, seed=0)


def test_jacobian_match_of_very_sure_networks():
    """In float32 their posterior is 1, its derivative by that class's logit 0, and squares vanish."""
    sure = linear([[34.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    images = torch.tensor([1, 0.5, 0.5, 0.5]).view(1, 1, 2, 2)
    assert sure(images).softmax(1).tolist()[0][0] == 1
    gradient = projections(sure, images, torch.tensor([[[1.0, -1, -1]]])).flatten()
    assert gradient.tolist() == pytest.approx([34 * 2 * 2 * math.exp(-34), 0, 0, 0], rel=1e-3)
    tiny = linear([[1e-25, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    for network in (sure, tiny):
        match = jacobian_match([network], [network], [images], classes=3, draws=9, seed=0)
        assert float(match.cosine[0, 0]) == pytest.approx(1)
        assert float(match.relative_error[0, 0]) == pytest.approx(0, abs=1e-9)


def test_the_source_moves_the_inputs_of_all():
    """Member 0 sees the first pixel, member 1 the second; ODS made with one moves only its own."""
    members = [linear([[9.0, 0], [0, 0]]), linear([[0, 9.0], [0, 0]])]
    split = Split(images=torch.full((70, 1, 1, 2), 128, dtype=torch.uint8).numpy(),
                  labels=torch.zeros(70, dtype=torch.long).numpy())  # fmt: skip
    clean, *moved = (
        member_log_posteriors(members, split, InputPerturbation(kind=kind, eta=20), CPU, source)
        for kind, source in (("none", None), ("ods", 0), ("ods", 1))
    )
    assert clean.shape == (2, 70, 2)
    assert diversity(clean) == pytest.approx(0, abs=1e-9)
    for source, perturbed in enumerate(moved):
        reactions = kl_to_clean(clean, perturbed)
        assert reactions[1 - source] == pytest.approx(0, abs=1e-9)
        p, q = clean[source].double(), perturbed[source].double()
        kl = float((p.exp() * (p - q)).sum(1).mean())
        assert reactions[source] == pytest.approx(kl)
        assert kl > 0.001
        assert diversity(perturbed) > 0.001


def test_without_a_source_it_is_drawn_per_batch():
    members = [linear([[9.0, 0], [0, 0]]), linear([[0, 9.0], [0, 0]])]
    images = torch.full((64 * 8, 1, 1, 2), 128, dtype=torch.uint8).numpy()
    split = Split(images=images, labels=torch.zeros(64 * 8, dtype=torch.long).numpy())
    ods = InputPerturbation(kind="ods", eta=20)
    drawn, first, second = (
        member_log_posteriors(members, split, ods, CPU, source) for source in (None, 0, 1)
    )
    same = [
        [torch.equal(a, b) for a, b in zip(drawn.split(64, 1), whole.split(64, 1), strict=True)]
        for whole in (first, second)
    ]
    assert [a != b for a, b in zip(*same, strict=True)] == [True] * 8
    assert True in same[0]
    assert True in same[1]


def test_diversity_of_others_leaves_one_out():
    log_posterior = torch.randn(3, 5, 4).log_softmax(-1)
    assert diversity_of_others(log_posterior, 1) == diversity(log_posterior[[0, 2]])


def test_members_of_a_batch_ensemble(taught):
    run = load_run(taught)
    assert count_members(run.students) == 2
    images = torch.rand(3, *run.dataset.image_shape)
    members = members_of(run.students)
    assert not any(module.training for member in members for module in member.modules())
    together = run.students[0].of_members(images)
    apart = torch.stack([member(images) for member in members])
    torch.testing.assert_close(apart, together, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


def test_teachers_of_ones_choice(taught, teachers):
    run, of_teachers = load_run(taught), load_run(teachers)
    assert count_members(of_teachers.students) == 3
    images = torch.rand(2, *run.dataset.image_shape)
    for teacher, number in zip(load_teachers(run.folder), (2, 0), strict=True):
        assert torch.equal(teacher(images), of_teachers.students[number](images))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "names no teachers"),
        ({"teachers": "gone"}, "names teachers: gone, but gone is not the folder of a run"),
        ({"teachers": None, "choose": [0, 3]}, "chooses teacher 3, but"),
    ],
)
def test_teachers_that_are_not_there(tmp_path, teachers, more, words):
    if "teachers" in more and more["teachers"] is None:
        more = more | {"teachers": str(teachers)}
    run = make_run(tmp_path / "run", ["resnet8+members=2"], **more)
    with pytest.raises(ConfigError, match=words):
        load_teachers(RunFolder(run))
    with pytest.raises(ConfigError, match="jacobian needs teachers") as caught:
        analyse(options_for(tmp_path / "out", run, analyses=("jacobian",)))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_diversity_of_a_run(tmp_path, teachers):
    files, notes = analyse(options_for(tmp_path, teachers, analyses=("diversity",)))
    assert notes == []
    assert [file.name for file in files] == [
        "diversity.svg", "diversity.png", "diversity.csv", "index.json"
    ]  # fmt: skip
    table = pd.read_csv(tmp_path / "diversity.csv")
    assert len(table) == 2 * 4 * (1 + 15)
    for (split, inputs), rows in table.groupby(["split", "inputs"], sort=False):
        whole, bins = rows[rows["bin"].isna()].iloc[0], rows[rows["bin"].notna()]
        assert whole["count"] == bins["count"].sum() == 80
        weighted = (bins["diversity"] * bins["count"]).sum() / 80
        assert whole["diversity"] == pytest.approx(weighted)
        clean = table[(table["split"] == split) & (table["inputs"] == "clean")].iloc[0]
        assert whole["factor_over_clean"] == pytest.approx(
            whole["diversity"] / clean["diversity"]
        ), inputs
    assert table["split"].unique().tolist() == ["training", "test"]
    whole = table[table["bin"].isna()].set_index(["split", "inputs"])["diversity"]
    assert whole["training", "clean"] != whole["test", "clean"]
    assert len(set(whole["test"])) == 4


def test_eta_tau_and_norm_reach_the_perturbation(teachers):
    run = load_run(teachers)

    def found(**more):
        rows = analyse_diversity(grouped([run]), options_for("nowhere", teachers, **more), CPU).rows
        table = pd.DataFrame(rows)
        return table[table["bin"].isna()].set_index(["split", "inputs"])["diversity"]["test"]

    default, large, soft, short = (
        found(), found(eta=20.0), found(tau=4.0), found(norm="l2")
    )  # fmt: skip
    assert large["ods"] != default["ods"]
    assert large["gaussian"] != default["gaussian"]
    assert soft["ods"] != default["ods"]
    assert soft["gaussian"] == default["gaussian"]
    assert abs(short["ods"] - short["clean"]) < abs(default["ods"] - default["clean"])


def test_transfer_of_a_run(tmp_path, teachers, taught):
    files, _ = analyse(options_for(tmp_path, teachers, analyses=("transfer",)))
    assert [file.name for file in files] == [
        "transfer.svg", "transfer.png", "transfer.csv", "index.json"
    ]  # fmt: skip
    table = pd.read_csv(tmp_path / "transfer.csv")
    assert table["inputs"].tolist() == ["clean", "gaussian", "ods", "ods", "ods"]
    assert table["source"].tolist()[2:] == [0, 1, 2]
    reactions = table[[f"kl_to_clean_{member}" for member in range(3)]].to_numpy()
    assert reactions[0].tolist() == [0, 0, 0]
    assert (reactions[1:] > 0).all()
    # Every pair is among the others of exactly one of three members.
    of_sources = table.iloc[2:]
    assert of_sources["clean_diversity_others"].mean() == pytest.approx(table["diversity"][0])
    assert of_sources["gaussian_diversity_others"].mean() == pytest.approx(table["diversity"][1])
    with pytest.raises(ConfigError, match="transfer needs three students"):
        analyse(options_for(tmp_path / "out", taught, analyses=("transfer",)))


def test_jacobians_of_a_run(tmp_path, taught):
    files, _ = analyse(options_for(tmp_path, taught, analyses=("jacobian",)))
    assert [file.name for file in files] == [
        "jacobian.svg", "jacobian.png", "jacobian.csv", "index.json"
    ]  # fmt: skip
    table = pd.read_csv(tmp_path / "jacobian.csv")
    assert list(zip(table["member"], table["teacher"], strict=True)) == [
        (0, 0), (0, 1), (1, 0), (1, 1)
    ]  # fmt: skip
    assert table["own_teacher"].tolist() == [True, False, False, True]
    assert (table["relative_error"] > 0).all()
    assert table["cosine"].between(-1, 1).all()


def test_without_a_choice_each_run_has_its_part(tmp_path, teachers, taught):
    files, notes = analyse(options_for(tmp_path, teachers, taught, sigmas=(0.0,)))
    tables = [file.stem for file in files if file.suffix == ".csv"]
    assert tables == [
        "noise", "posterior", "gradients", "reliability", "diversity", "transfer", "jacobian"
    ]  # fmt: skip
    assert [note.split(" has no part in ")[0] for note in notes] == ["teachers", "ods"]
    assert "jacobian, for want of teachers" in notes[0]
    assert "jacobian" not in notes[1]
    assert "transfer, for want of three students" in notes[1]
    assert {f"diversity-{run}.svg" for run in ("teachers", "ods")} <= {f.name for f in files}
