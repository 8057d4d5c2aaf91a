"""Workers that share a batch compute what one worker computes from the whole of it."""

import copy

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from cohort.data.dataset import Split
from cohort.learning.data_parallel import SynchronisedBatchNorm, Workers, synchronised_batch_norm
from tests.support.workers import in_processes

SIZE = 2
BATCH = 8


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, bias=False),
        nn.BatchNorm2d(4, affine=False, momentum=None),
        nn.Flatten(),
        nn.Linear(16, 5, bias=False),
        nn.BatchNorm1d(5),
    )


def batch():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(BATCH, 3, 6, 6, generator=generator)
    return images, torch.randint(0, 5, (BATCH,), generator=generator)


def one_step(forward, module, images, labels):
    loss = F.cross_entropy(forward(images), labels)
    loss.backward()
    return loss.detach(), [p.grad for p in module.parameters()], list(module.buffers())


def in_group(rank, folder, check):
    store = dist.FileStore(f"{folder}/store", SIZE)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=SIZE)
    torch.set_num_threads(1)
    try:
        check(Workers(rank, SIZE))
    finally:
        dist.destroy_process_group()


def together(tmp_path, check):
    in_processes(in_group, (str(tmp_path), check), SIZE)


def check_a_step(workers):
    images, labels = batch()
    alone = network()
    expected = one_step(alone, alone, images, labels)
    mine = slice(workers.rank * BATCH // SIZE, (workers.rank + 1) * BATCH // SIZE)
    shared = network()
    with synchronised_batch_norm(shared, workers):
        assert isinstance(shared[1], SynchronisedBatchNorm)
        parallel = workers.parallel(shared)
        loss, gradients, buffers = one_step(parallel, shared, images[mine], labels[mine])
    assert type(shared[1]) is nn.BatchNorm2d
    assert type(shared[7]) is nn.BatchNorm1d
    torch.testing.assert_close(workers.average(loss), expected[0])
    for mine, theirs in zip(gradients, expected[1], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
    for mine, theirs in zip(buffers, expected[2], strict=True):
        torch.testing.assert_close(mine, theirs)


def check_local_statistics_differ(workers):
    images, labels = batch()
    alone = network()
    expected = one_step(alone, alone, images, labels)
    mine = slice(workers.rank * BATCH // SIZE, (workers.rank + 1) * BATCH // SIZE)
    shared = network()
    loss, _, _ = one_step(workers.parallel(shared), shared, images[mine], labels[mine])
    assert abs(float(workers.average(loss) - expected[0])) > 1e-3
    workers.synchronise_buffers(shared)
    for buffer in shared.buffers():
        torch.testing.assert_close(workers.average(buffer.double()), buffer.double())


def check_words(workers):
    assert workers.leads == (workers.rank == 0)
    assert workers.agree(workers.rank == 1, torch.device("cpu"))
    assert not workers.agree(wish=False, device=torch.device("cpu"))
    labels = torch.arange(7)
    split = Split(torch.zeros(7, 1, 2, 2, dtype=torch.uint8).numpy(), labels.numpy())
    part = torch.from_numpy(workers.part_of(split).labels)
    assert 3 <= len(part) <= 4
    assert torch.equal(workers.gather(part), labels)


@pytest.mark.parametrize("check", [check_a_step, check_local_statistics_differ, check_words])
def test_two_workers(tmp_path, check):
    together(tmp_path, check)


def test_one_worker_needs_no_group():
    workers, module = Workers(), network()
    assert workers.parallel(module) is module
    assert workers.agree(wish=True, device=torch.device("cpu"))
    assert torch.equal(workers.average(torch.ones(2)), torch.ones(2))
    with synchronised_batch_norm(module, workers):
        assert type(module[1]) is nn.BatchNorm2d


def test_in_evaluation_mode_it_is_torchs_own():
    module = network()
    images, labels = batch()
    one_step(module, module, images, labels)
    expected = copy.deepcopy(module).eval()(images)
    with synchronised_batch_norm(module.eval(), Workers(0, 2)):
        assert isinstance(module[1], SynchronisedBatchNorm)
        assert torch.equal(module(images), expected)
