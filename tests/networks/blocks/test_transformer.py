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
