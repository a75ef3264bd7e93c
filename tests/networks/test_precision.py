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
