import time

import pytest
import torch

from monai_ext.plan.step_trial import stopwatch


@pytest.mark.parametrize(("threads", "device", "counts"), [(1, "cpu", False), (2, "cpu", True), (1, "cuda", True)])
def test_waiting_for_other_programs_counts_only_where_nothing_else_can_be_told(monkeypatch, threads, device, counts):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    clock = stopwatch(torch.device(device))
    began = clock()
    time.sleep(0.2)
    assert (clock() - began > 0.1) is counts
