import pytest
import torch

from monai_ext.networks.blocks import BlockDiagonalLinear, ViLBlock, ViLLayer


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def wake_gates(block):
    """Gates ignore the tokens at first; random weights make the tests exercise them."""
    for module in block.modules():
        if hasattr(module, "gates"):
            torch.nn.init.normal_(module.gates.weight, std=0.2)
    return block


def test_block_diagonal_linear_equals_the_dense_matrix():
    layer = BlockDiagonalLinear(12, block_size=4)
    torch.nn.init.normal_(layer.weight)
    x = torch.randn(2, 5, 12)
    torch.testing.assert_close(layer(x), x @ torch.block_diag(*layer.weight).T)
    with pytest.raises(ValueError, match="10"):
        BlockDiagonalLinear(10, block_size=4)


def test_reversing_tokens_and_swapping_directions_reverses_the_output():
    block = wake_gates(ViLBlock(16)).double()
    tokens = torch.randn(2, 75, 16, dtype=torch.float64)
    expected = block(tokens).flip(1)
    assert (block(tokens.flip(1)) - expected).abs().max() > 1e-2
    block.forward_layer, block.backward_layer = block.backward_layer, block.forward_layer
    torch.testing.assert_close(block(tokens.flip(1)), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_the_last_token_reaches_the_first_only_in_both_directions(bidirectional):
    block = ViLBlock(16, bidirectional)
    tokens = torch.randn(1, 120, 16, requires_grad=True)
    reach = torch.autograd.grad(block(tokens)[0, 0].square().sum(), tokens)[0][0].abs().amax(-1) > 0
    assert reach[0]
    assert reach[1:].all() if bidirectional else not reach[1:].any()


@pytest.mark.parametrize("bidirectional", [True, False])
def test_the_first_token_reaches_the_last(bidirectional):
    tokens = torch.randn(1, 120, 16, requires_grad=True)
    last = ViLBlock(16, bidirectional)(tokens)[0, -1]
    assert torch.autograd.grad(last.square().sum(), tokens)[0][0, 0].abs().max() > 0


def test_forms_of_the_cell_give_the_same_block():
    blocks = [wake_gates(ViLBlock(16, form=form)).double() for form in ("recurrent", "parallel", "chunkwise")]
    tokens = torch.randn(2, 130, 16, dtype=torch.float64)
    for block in blocks[1:]:
        block.load_state_dict(blocks[0].state_dict())
        torch.testing.assert_close(block(tokens), blocks[0](tokens), rtol=1e-10, atol=1e-10)


def test_layer_equals_the_xlstm_package():
    layers = pytest.importorskip("xlstm.blocks.mlstm.layer", reason="pip install xlstm")
    dim, length = 32, 70
    library = layers.mLSTMLayer(layers.mLSTMLayerConfig(embedding_dim=dim, context_length=length)).double()
    ours = ViLLayer(dim, gate_cap=None).double()
    names = {"up": "proj_up", "conv": "conv1d.conv", "query": "q_proj", "key": "k_proj", "value": "v_proj"}
    with torch.no_grad():
        for parameter in library.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for name, theirs in {**names, "down": "proj_down"}.items():
            ours.get_submodule(name).load_state_dict(library.get_submodule(theirs).state_dict())
        cell = library.mlstm_cell
        ours.cell.gates.weight.copy_(torch.cat([cell.igate.weight, cell.fgate.weight]))
        ours.cell.gates.bias.copy_(torch.cat([cell.igate.bias, cell.fgate.bias]))
        ours.cell.norm_weight.copy_(1 + cell.outnorm.weight)
        ours.skip.copy_(library.learnable_skip)
    tokens = torch.randn(2, length, dim, dtype=torch.float64)
    torch.testing.assert_close(ours(tokens), library(tokens), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("dim", "count"), [(256, 415_496), (320, 642_248)])
def test_parameters(dim, count):
    one, both = (sum(p.numel() for p in ViLBlock(dim, b).parameters()) for b in (False, True))
    assert one == count
    assert both == 2 * count - dim  # the norm is shared


def test_initialization():
    layer = ViLLayer(320)
    for weight in (layer.up.weight, layer.query.weight, layer.key.weight, layer.value.weight):
        assert weight.std().item() == pytest.approx((2 / (5 * 320)) ** 0.5, rel=0.05)
    assert layer.down.weight.std().item() == pytest.approx(2 / 320**0.5, rel=0.05)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bias", [-200.0, 200.0])
def test_half_precision_keeps_values_and_gradients_finite(kind, bias):
    block = wake_gates(ViLBlock(16))
    for layer in (block.forward_layer, block.backward_layer):
        torch.nn.init.constant_(layer.cell.gates.bias, bias)
    tokens = (100 * torch.randn(1, 70, 16)).requires_grad_()
    with torch.autocast("cpu", dtype=kind):
        out = block(tokens)
    out.float().mean().backward()
    assert all(x.isfinite().all() for x in [out, tokens.grad, *(p.grad for p in block.parameters())])


def test_weights_in_bf16():
    block = ViLBlock(16)
    tokens = torch.randn(1, 70, 16)
    expected = block(tokens)
    out = block.bfloat16()(tokens.bfloat16())
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), expected, rtol=0.1, atol=0.1)
