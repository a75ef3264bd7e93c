"""A Dice over the batch is the same loss on two processes as on one, and so is the mean of its gradients."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from monai_ext.losses import FocalDiceLoss, MemoryEfficientDiceCELoss
from monai_ext.losses.across_processes import sum_over_processes

LOSSES = {"focal and Dice": FocalDiceLoss, "Dice and cross-entropy": lambda: MemoryEfficientDiceCELoss(batch=True)}


def data():
    torch.manual_seed(0)
    return torch.randn(4, 2, 6, 6), (
        torch.rand(4, 1, 6, 6) < torch.tensor([0.0, 0.1, 0.4, 0.8]).view(4, 1, 1, 1)
    ).long()


def process(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    logits, label = (part[2 * rank : 2 * rank + 2] for part in data())
    found = {}
    for name, make in LOSSES.items():
        leaf = logits.clone().requires_grad_()
        loss = make()(leaf, label)
        loss.backward()
        found[name] = (loss.detach(), leaf.grad)
    found["no gradient"] = sum_over_processes(torch.ones(3))
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    multiprocessing.start_processes(process, (str(folder),), nprocs=2, start_method="fork")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("name", LOSSES)
def test_two_processes_have_the_loss_and_gradient_of_one(ranks, name):
    logits, label = data()
    logits.requires_grad_()
    whole = LOSSES[name]()(logits, label)
    whole.backward()
    assert torch.stack([rank[name][0] for rank in ranks]).mean().item() == pytest.approx(whole.item(), abs=1e-6)
    # DistributedDataParallel takes the mean over processes of what each adds to a parameter's gradient
    found = torch.cat([rank[name][1] for rank in ranks]) / 2
    assert torch.allclose(found, logits.grad, atol=1e-7)
    alone = torch.stack([LOSSES[name]()(logits[part], label[part]) for part in (slice(2), slice(2, 4))]).mean()
    assert abs(alone.item() - whole.item()) > 1e-3  # it matters


def test_nothing_is_summed_where_nothing_learns(ranks):
    assert torch.equal(ranks[0]["no gradient"], torch.ones(3))
    value = torch.ones(2, requires_grad=True)
    assert sum_over_processes(value) is value  # no process group here
