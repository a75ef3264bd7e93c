"""What two processes share, worked by hand; and what one process alone gets."""

import os
import subprocess
import sys
import time

import pytest
import torch
from torch import nn
from two_processes import on_two_processes

from monai_ext.errors import ConfigError
from monai_ext.processes import (
    average_gradients,
    distribute,
    equal_weights,
    from_all,
    from_first,
    is_first,
    loading_workers,
    num_processes,
    peak_memory,
    process_device,
    process_rank,
    shard_device,
    wait_for_all,
)


def gradients(rank):
    """Of a matrix, of a view that is not contiguous, and of a number."""
    matrix = torch.arange(6.0).view(2, 3) * (1 + 10 * rank)
    return [matrix, torch.arange(8.0).view(2, 4).T - 3 * rank, torch.tensor(0.5 + rank)]


def network(rank):
    torch.manual_seed(rank)
    made = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    made.train()(torch.randn(5 + rank, 3))
    if rank:
        made.train()(torch.randn(5, 3))  # another number of batches
    return made


def inputs(rank):
    return torch.linspace(-1, 1 + rank, 6).view(2, 3)


def work(rank, folder):
    found = {"who": (process_rank(), num_processes(), is_first())}
    found["all"] = from_all({"rank": rank, "values": [rank] * (rank + 1)})
    found["first"] = from_first(f"process {rank}")

    parameters = [nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients(rank)]
    frozen = nn.Parameter(torch.ones(3))
    for parameter, gradient in zip(parameters, gradients(rank)):
        parameter.grad = gradient
    average_gradients([parameters[0], frozen, *parameters[1:]])
    found["gradients"] = [parameter.grad.clone() for parameter in parameters]
    found["frozen"] = frozen.grad

    made = network(rank)
    equal_weights(made)
    found["weights"] = made.state_dict()

    torch.manual_seed(0)
    linear = nn.Linear(3, 1)
    wrapped = distribute(linear, torch.device("cpu"))
    wrapped(inputs(rank)).square().mean().backward()
    found["distributed"] = (type(wrapped).__name__, linear.weight.grad, linear.bias.grad)

    if rank:
        time.sleep(1)
        (folder / "late.txt").write_text("")
    wait_for_all()
    found["waited"] = (folder / "late.txt").exists()

    os.environ["LOCAL_RANK"] = str(rank)
    found["device"] = str(process_device(required=True))  # does not join a second time
    return found


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return on_two_processes(work, tmp_path_factory.mktemp("processes"))


def test_each_knows_its_number_and_only_the_first_writes(ranks):
    assert [rank["who"] for rank in ranks] == [(0, 2, True), (1, 2, False)]


def test_values_of_all_come_in_the_order_of_ranks_and_that_of_the_first_reaches_both(ranks):
    for rank in ranks:
        assert rank["all"] == [{"rank": 0, "values": [0]}, {"rank": 1, "values": [1, 1]}]
        assert rank["first"] == "process 0"


def test_gradients_are_the_mean_over_processes(ranks):
    by_hand = [
        torch.tensor([[0.0, 6.0, 12.0], [18.0, 24.0, 30.0]]),  # (1 + 11) / 2 times 0, 1, ..., 5
        torch.tensor([[-1.5, 2.5], [-0.5, 3.5], [0.5, 4.5], [1.5, 5.5]]),  # 1.5 less
        torch.tensor(1.0),  # between 0.5 and 1.5
    ]
    for rank in ranks:
        assert all(torch.equal(found, expected) for found, expected in zip(rank["gradients"], by_hand, strict=True))
        assert rank["frozen"] is None


def test_weights_and_buffers_become_those_of_the_first(ranks):
    first, second = network(0).state_dict(), network(1).state_dict()
    assert all(not torch.equal(first[name], second[name]) for name in ("0.weight", "1.running_mean"))
    assert first["1.num_batches_tracked"] != second["1.num_batches_tracked"]
    for rank in ranks:
        assert rank["weights"].keys() == first.keys()
        assert all(torch.equal(rank["weights"][name], value) for name, value in first.items())


def test_a_distributed_network_has_the_mean_of_the_gradients(ranks):
    torch.manual_seed(0)
    linear = nn.Linear(3, 1)
    sum(linear(inputs(rank)).square().mean() for rank in (0, 1)).div(2).backward()
    for rank in ranks:
        name, weight, bias = rank["distributed"]
        assert name == "DistributedDataParallel"
        assert torch.allclose(weight, linear.weight.grad, atol=1e-7)
        assert torch.allclose(bias, linear.bias.grad, atol=1e-7)


def test_nobody_goes_on_before_all_are_there(ranks):
    assert all(rank["waited"] for rank in ranks)


@pytest.mark.skipif(torch.cuda.is_available(), reason="without a GPU")
def test_processes_without_gpus_are_on_the_cpu(ranks):
    assert [rank["device"] for rank in ranks] == ["cpu", "cpu"]


def test_one_process_alone_shares_with_nobody():
    assert (process_rank(), num_processes(), is_first()) == (0, 1, True)
    value = object()
    assert from_first(value) is value
    assert from_all(value) == [value]
    wait_for_all()
    linear = nn.Linear(2, 1)
    assert distribute(linear, torch.device("cpu")) is linear
    before = {name: value.clone() for name, value in linear.state_dict().items()}
    equal_weights(linear)
    assert all(torch.equal(before[name], value) for name, value in linear.state_dict().items())
    linear.weight.grad = torch.ones(1, 2)
    average_gradients(linear.parameters())
    assert torch.equal(linear.weight.grad, torch.ones(1, 2))


def gpus(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_device_without_torchrun(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    for count, kind in ((0, "cpu"), (2, "cuda")):
        gpus(monkeypatch, count)
        assert process_device() == torch.device(kind)
    with pytest.raises(ConfigError, match="needs torchrun"):
        process_device(required=True)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    gpus(monkeypatch, 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match=r"process 2 has no GPU: this machine has 2"):
        process_device()


@pytest.mark.parametrize(("count", "rank", "device"), [(0, 3, "cpu"), (2, 0, "cuda:0"), (2, 3, "cuda:1")])
def test_processes_that_exchange_nothing_are_dealt_to_the_gpus(monkeypatch, count, rank, device):
    gpus(monkeypatch, count)
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    assert shard_device() == torch.device(device)


@pytest.mark.parametrize(
    ("device", "cores", "processes", "workers"),
    [("cpu", 16, 1, 0), ("cuda", 16, 1, 12), ("cuda", 16, 4, 3), ("cuda", 6, 1, 5), ("cuda", 2, 4, 1)],
)
def test_workers_are_the_cores_that_are_left(monkeypatch, device, cores, processes, workers):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert loading_workers(device) == workers


def test_the_peak_of_memory_is_that_of_the_process_and_stays():
    """Half a gibibyte is held for a moment, by a process of its own."""
    code = (
        "import torch; from monai_ext.processes import peak_memory; cpu = torch.device('cpu');"
        "before = peak_memory(cpu); block = torch.ones(2**27); del block; print(peak_memory(cpu) - before, before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    gained, before = map(float, done.stdout.split())
    assert 0.45 < gained < 0.6
    assert before > 0.1
    assert peak_memory(torch.device("cpu")) > 0.1
