import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from monai_ext.networks.blocks import MLSTMCell, mlstm_chunkwise, mlstm_parallel, mlstm_recurrent, soft_cap

LENGTHS = [1, 7, 64, 1000]


def inputs(length, dim=8, seed=0, dtype=torch.float64):
    """Queries, keys, values and both gates of two heads; forget gates from nearly closed to nearly open."""
    generator = torch.Generator().manual_seed(seed)
    tokens = [torch.randn(1, 2, length, dim, generator=generator, dtype=dtype) for _ in range(3)]
    gates = [3 * torch.randn(1, 2, length, generator=generator, dtype=dtype) + shift for shift in (0.0, 2.0)]
    return [x.requires_grad_() for x in (*tokens, *gates)]


def value_and_gradients(function, arguments):
    hidden = function(*arguments)
    direction = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(1), dtype=hidden.dtype)
    return [hidden.detach(), *torch.autograd.grad((hidden * direction).sum(), arguments)]


def assert_same(actual, expected, tolerance=1e-10):
    for a, b in zip(actual, expected):
        assert (a - b).abs().max() <= tolerance * b.abs().max().clamp(min=1)


@pytest.mark.parametrize("length", [1, 9])
def test_equals_the_sum_over_the_past_without_a_stabilizer(length):
    query, key, value, i, f = (x.detach() for x in inputs(length))
    expected = torch.zeros_like(value)
    for t in range(length):
        weights = [
            i[..., s].exp() * torch.sigmoid(f[..., s + 1 : t + 1]).prod(-1) * (query[:, :, t] * key[:, :, s]).sum(-1)
            for s in range(t + 1)
        ]
        weights = torch.stack(weights, -1) / math.sqrt(key.shape[-1])
        read = (weights[..., None] * value[:, :, : t + 1]).sum(-2)
        expected[:, :, t] = read / weights.sum(-1, keepdim=True).abs().clamp(min=1)
    for form in (mlstm_recurrent, mlstm_parallel, partial(mlstm_chunkwise, chunk_size=4)):
        torch.testing.assert_close(form(query, key, value, i, f, eps=0.0), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("length", LENGTHS)
def test_the_three_forms_agree_in_values_and_gradients(length):
    arguments = inputs(length)
    expected = value_and_gradients(mlstm_recurrent, arguments)
    assert_same(value_and_gradients(mlstm_parallel, arguments), expected)
    for chunk_size in (7, 64, 48, length + 3):
        assert_same(value_and_gradients(partial(mlstm_chunkwise, chunk_size=chunk_size), arguments), expected)


@pytest.mark.parametrize("form", [mlstm_recurrent, mlstm_parallel, partial(mlstm_chunkwise, chunk_size=3)])
def test_gradients_equal_finite_differences(form):
    assert torch.autograd.gradcheck(partial(form, eps=0.0), inputs(7, dim=2))


@pytest.mark.parametrize("length", LENGTHS)
def test_equals_the_xlstm_package(length):
    backends = pytest.importorskip("xlstm.blocks.mlstm.backends", reason="pip install xlstm")

    def library(query, key, value, i, f):
        return backends.parallel_stabilized_simple(query, key, value, i[..., None], f[..., None], eps=0.0)

    arguments = inputs(length)
    expected = value_and_gradients(library, arguments)
    assert_same(value_and_gradients(partial(mlstm_chunkwise, eps=0.0), arguments), expected)


def test_cell_equals_the_xlstm_package():
    cells = pytest.importorskip("xlstm.blocks.mlstm.cell", reason="pip install xlstm")
    torch.manual_seed(0)
    length, features, heads = 100, 24, 4
    library = cells.mLSTMCell(cells.mLSTMCellConfig(length, features, heads)).double()
    ours = MLSTMCell(features, heads, gate_cap=None).double()
    with torch.no_grad():
        for parameter in library.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        ours.gates.weight.copy_(torch.cat([library.igate.weight, library.fgate.weight]))
        ours.gates.bias.copy_(torch.cat([library.igate.bias, library.fgate.bias]))
        ours.norm_weight.copy_(1 + library.outnorm.weight)
    tokens = [torch.randn(2, length, features, dtype=torch.float64) for _ in range(3)]
    torch.testing.assert_close(ours(*tokens), library(*tokens), rtol=1e-10, atol=1e-10)


def test_no_token_sees_a_later_one():
    arguments = [x.detach() for x in inputs(20)]
    changed = [x.clone() for x in arguments]
    for x in changed:
        x[:, :, 13:] += 1
    before, after = (mlstm_chunkwise(*x, chunk_size=8) for x in (arguments, changed))
    torch.testing.assert_close(before[:, :, :13], after[:, :, :13], rtol=0, atol=0)
    assert (before[:, :, 13:] != after[:, :, 13:]).any(-1).all()


@pytest.mark.parametrize("form", [mlstm_recurrent, mlstm_parallel, partial(mlstm_chunkwise, chunk_size=16)])
@pytest.mark.parametrize("gates", [(200, 200), (200, -200), (-200, 200), (-200, -200), "random"])
def test_extreme_gates_keep_values_and_gradients_finite(form, gates):
    arguments = [x.detach() for x in inputs(50, dtype=torch.float32)]
    if gates == "random":
        arguments[3:] = [200 * x.sign() for x in arguments[3:]]
    else:
        arguments[3:] = [torch.full_like(arguments[3], float(g)) for g in gates]
    arguments = [x.requires_grad_() for x in arguments]
    assert all(x.isfinite().all() for x in value_and_gradients(form, arguments))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("gate_cap", [None, 15.0])
def test_cell_under_autocast_survives_extreme_gates(kind, gate_cap):
    torch.manual_seed(0)
    cell = MLSTMCell(32, 4, gate_cap)
    with torch.no_grad():
        cell.gates.bias.copy_(200 * torch.tensor([1.0, 1, -1, -1, 1, -1, 1, -1]))
    tokens = [torch.randn(2, 70, 32, dtype=kind, requires_grad=True) for _ in range(3)]
    with torch.autocast("cpu", dtype=kind):
        hidden = cell(*tokens)
    hidden.float().square().sum().backward()
    assert hidden.dtype == kind
    assert all(x.isfinite().all() for x in [hidden, *(p.grad for p in [*cell.parameters(), *tokens])])


def far(found, expected):
    """Mean error as a share of the mean size."""
    return ((found.double() - expected.double()).abs().mean() / expected.double().abs().mean()).item()


def test_bfloat16_products_beside_fp32_gates_lose_less_than_bfloat16_gates():
    """Values and gradients with a memory of hundreds of tokens, over 32 chunks."""
    tokens = [torch.randn(1, 2, 2000, 16, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    tokens = [x.bfloat16() for x in tokens]
    gates = [torch.randn(1, 2, 2000, generator=torch.Generator().manual_seed(seed)) for seed in (3, 4)]
    gates[1] += 6
    wide = [x.float() for x in tokens]

    def run(form, *arguments):
        return value_and_gradients(form, [x.detach().requires_grad_() for x in arguments])

    exact = run(mlstm_parallel, *wide, *gates)
    found = run(mlstm_chunkwise, *tokens, *gates)
    rounded = run(mlstm_chunkwise, *wide, *(x.bfloat16().float() for x in gates))
    assert found[0].dtype == torch.float32
    assert [x.dtype for x in found[1:]] == [torch.bfloat16] * 3 + [torch.float32] * 2
    errors, others = ([far(x, y) for x, y in zip(values, exact)] for values in (found, rounded))
    assert errors[0] < 0.01
    assert max(errors) < 0.06
    assert all(error < 0.5 * other for error, other in zip(errors, others))


def test_cell_keeps_its_gates_in_fp32_under_autocast(monkeypatch):
    torch.manual_seed(0)
    cell = MLSTMCell(32, gate_cap=None)
    torch.nn.init.normal_(cell.gates.weight, std=0.5)
    tokens = [torch.randn(1, 300, 32, dtype=torch.bfloat16) for _ in range(3)]
    exact = cell(*(x.float() for x in tokens))

    def error():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return far(cell(*tokens), exact)

    ours, gates = error(), MLSTMCell.preactivations
    assert 0 < ours < 0.01
    monkeypatch.setattr(MLSTMCell, "preactivations", lambda *args: gates(*args).bfloat16().float())
    assert error() > 1.5 * ours


def test_cell_starts_with_gates_that_ignore_the_tokens():
    cell = MLSTMCell(32, num_heads=4, gate_cap=None)
    gates = cell.preactivations([torch.randn(1, 5, 32) for _ in range(3)])
    torch.testing.assert_close(gates[0, :, 4:], torch.tensor([3.0, 4.0, 5.0, 6.0]).expand(5, 4))
    assert gates[0].std(0).max() == 0


def test_soft_cap_is_bounded_and_near_identity_at_zero():
    x = torch.tensor([-200.0, -0.1, 0.0, 0.1, 200.0])
    capped = soft_cap(x, 15.0)
    torch.testing.assert_close(capped[[0, 4]], torch.tensor([-15.0, 15.0]))
    torch.testing.assert_close(capped[1:4], x[1:4], rtol=1e-4, atol=0)
    assert soft_cap(x, None) is x


def test_wrong_arguments():
    with pytest.raises(ValueError, match="30"):
        MLSTMCell(30, num_heads=4)
    with pytest.raises(ValueError, match="sequential"):
        MLSTMCell(32, form="sequential")


def test_norm_is_per_head():
    cell = MLSTMCell(32, num_heads=4)
    hidden = cell(*(torch.randn(1, 6, 32) for _ in range(3))).unflatten(-1, (4, 8))
    torch.testing.assert_close(hidden.mean(-1), torch.zeros(1, 6, 4), rtol=0, atol=1e-5)
    torch.testing.assert_close(F.layer_norm(hidden, (8,)), hidden, rtol=1e-2, atol=1e-2)
