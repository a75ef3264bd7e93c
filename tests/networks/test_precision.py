import subprocess
import sys

import pytest
import torch

from monai_ext.networks import precision
from monai_ext.networks.precision import autocast, has_bf16

CPU = torch.device("cpu")


@pytest.mark.parametrize("hardware", [True, False])
@pytest.mark.parametrize("amp", [True, False])
def test_bfloat16_where_it_is_asked_for_and_there(monkeypatch, hardware, amp):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: hardware)
    a = torch.rand(3, 4)
    with autocast(CPU, amp):
        assert (a @ a.T).dtype == (torch.bfloat16 if hardware and amp else torch.float32)
    assert (a @ a.T).dtype == torch.float32


def test_other_devices_have_none():
    assert not has_bf16(torch.device("meta"))


def test_emulation_on_an_old_gpu_does_not_count(monkeypatch):
    asked = {}
    monkeypatch.setattr(precision.torch.cuda, "is_bf16_supported", lambda **options: asked.update(options) or False)
    assert not has_bf16(torch.device("cuda"))
    assert asked == {"including_emulation": False}


@pytest.mark.skipif(not has_bf16(torch.device("cpu")), reason="this CPU computes in fp32 anyway")
@pytest.mark.parametrize(
    ("shape", "stride"), [((2, 4, 4), 1), ((2, 2, 2), 1), ((4, 1, 2), 2), ((1, 4, 1), 2), ((1, 1), 2), ((3, 3, 3), 2)]
)
def test_gradients_of_small_maps_are_those_of_fp32(shape, stride):
    """In a process of its own: bfloat16 gradients of such maps write beyond their memory."""
    code = f"""
import torch
from monai_ext.networks.precision import autocast
torch.manual_seed(0)
convolution = torch.nn.Conv{len(shape)}d(32, 64, 3, {stride}, 1)
x = torch.randn(2, 32, *{shape})
gradients = []
for amp in (False, True):
    convolution.zero_grad()
    with autocast(torch.device("cpu"), amp):
        y = convolution(x).float()
    (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
    gradients.append(convolution.weight.grad.clone())
print(float((gradients[1] - gradients[0]).norm() / gradients[0].norm()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.01


@pytest.mark.skipif(not has_bf16(torch.device("cpu")), reason="this CPU computes in fp32 anyway")
def test_larger_maps_stay_in_bfloat16():
    convolution = torch.nn.Conv3d(1, 2, 3, padding=1)
    with autocast(torch.device("cpu")):
        assert convolution(torch.zeros(1, 1, 3, 3, 3)).dtype == torch.bfloat16
        assert convolution(torch.zeros(1, 1, 2, 3, 3)).dtype == torch.float32
