import torch
from torch import nn

from monai_ext.networks.blocks import TransformerBlock


def test_equals_torchs_encoder_layer():
    block = TransformerBlock(24, 4).double()
    layer = nn.TransformerEncoderLayer(
        24,
        4,
        96,
        dropout=0,
        activation="gelu",
        layer_norm_eps=1e-6,
        batch_first=True,
        norm_first=True,
        dtype=torch.double,
    )
    with torch.no_grad():
        for target, source in [
            (layer.self_attn.in_proj_weight, block.attn.qkv.weight),
            (layer.self_attn.in_proj_bias, block.attn.qkv.bias),
            (layer.self_attn.out_proj.weight, block.attn.proj.weight),
            (layer.self_attn.out_proj.bias, block.attn.proj.bias),
            (layer.linear1.weight, block.mlp.fc1.weight),
            (layer.linear1.bias, block.mlp.fc1.bias),
            (layer.linear2.weight, block.mlp.fc2.weight),
            (layer.linear2.bias, block.mlp.fc2.bias),
        ]:
            target.copy_(source)
    for tokens in (7, 600):  # both ways of computing the attention
        x = torch.randn(2, tokens, 24, dtype=torch.double)
        assert torch.allclose(block(x), layer(x), atol=1e-10)


def test_fewer_queries_are_the_last_tokens_of_all():
    block = TransformerBlock(24, 4)
    x = torch.randn(2, 9, 24)
    assert torch.allclose(block(x, num_queries=4), block(x)[:, -4:], atol=1e-6)


def test_training_computes_what_evaluation_does_and_its_gradients():
    block = TransformerBlock(24, 4).double()
    x = torch.randn(2, 5, 24, dtype=torch.double, requires_grad=True)
    results = []
    for mode in (True, False):
        block.train(mode).zero_grad()
        out = block(x)
        gradient = torch.autograd.grad(out.square().sum(), [x, *block.parameters()])
        results.append((out, *gradient))
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(*results))
    assert torch.autograd.gradcheck(block.train().mlp, x)


def test_gradients_of_parameters_are_fp32_under_autocast():
    block = TransformerBlock(24, 4)
    with torch.autocast("cpu", torch.bfloat16):
        block(torch.randn(2, 5, 24)).float().sum().backward()
    assert {p.grad.dtype for p in block.parameters()} == {torch.float32}
