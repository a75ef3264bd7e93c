import pytest
import torch

from monai_ext.networks.nets import SwinUnet
from monai_ext.networks.nets.swin_unet import PatchExpanding, SwinBlocks

SMALL = {"embed_dim": 12, "depths": (2, 2, 2), "num_heads": (2, 2, 4), "window_size": 4}


def test_encoder_is_swin_t():
    """torchvision documents 28,288,354 parameters for Swin-T, 769,000 of them in its classifier."""
    with torch.device("meta"):
        network = SwinUnet(depths=(2, 2, 6, 2))
    parts = (
        network.embed,
        network.embed_norm,
        network.encoder,
        network.merge,
        network.bottleneck,
        network.bottleneck_norm,
    )
    assert sum(p.numel() for part in parts for p in part.parameters()) == 28_288_354 - 769_000


def test_patch_expanding_puts_channels_side_by_side():
    layer, x = PatchExpanding(6, 3), torch.randn(1, 4, 5, 6)
    out, wide = layer(x), x @ layer.expand.weight.T
    for h in range(8):
        for w in range(10):
            part = (h % 2) * 2 + w % 2
            pixel = wide[0, h // 2, w // 2, 3 * part : 3 * part + 3]
            torch.testing.assert_close(out[0, h, w], layer.norm(pixel))


def test_one_window_is_full_attention_with_relative_positions():
    """A grid smaller than the window: the block equals attention over all tokens with a bias by offset, in loops."""
    torch.manual_seed(0)
    blocks = SwinBlocks(8, (3, 2), num_heads=2, window_size=7, drop_path=[0.0], mlp_ratio=2.0).eval()
    block, x = blocks.layer.blocks[0], torch.randn(1, 3, 2, 8)
    attention = block.attn
    assert attention.relative_position_bias_table.shape == (5 * 3, 2)

    places = [(h, w) for h in range(3) for w in range(2)]
    q, k, v = attention.qkv(block.norm1(x)).reshape(6, 3, 2, 4).unbind(1)
    heads = torch.zeros(6, 2, 4)
    for head in range(2):
        for i, (h, w) in enumerate(places):
            score = torch.stack([q[i, head] @ k[j, head] / 2 for j in range(6)])
            bias = [attention.relative_position_bias_table[(h - a + 2) * 3 + w - b + 1, head] for a, b in places]
            heads[i, head] = (score + torch.stack(bias)).softmax(0) @ v[:, head]
    middle = x + attention.proj(heads.reshape(1, 3, 2, 8))
    expected = middle + block.mlp(block.norm2(middle))
    torch.testing.assert_close(blocks(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "channels", "classes"), [(88, 3, 2), ((40, 70), 1, 4), ((16, 33), 5, 2)])
def test_any_size_and_channels(size, channels, classes):
    network = SwinUnet(channels, classes, size, **SMALL)
    height, width = network.img_size
    assert network(torch.randn(2, channels, height, width)).shape == (2, classes, height, width)


def test_sizes_of_the_stages():
    """88 pixels, padded to 96: grids of 24, 12, 6 and 3 tokens, the last two smaller than a window of 7."""
    network = SwinUnet(img_size=88, embed_dim=24)
    seen = []
    for stage in [*network.encoder, network.bottleneck, *network.decoder]:
        stage.register_forward_hook(lambda _, args, out: seen.append((tuple(args[0].shape[1:]), out.shape[3])))
    network(torch.randn(1, 3, 88, 88))
    grids = [(24, 24, 24), (12, 12, 48), (6, 6, 96), (3, 3, 192), (6, 6, 96), (12, 12, 48), (24, 24, 24)]
    assert seen == [(grid, grid[2]) for grid in grids]


def test_learns_a_disc():
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
    disc = ((y - 15) ** 2 + (x - 22) ** 2 < 64).long()[None]
    image = disc[:, None] + 0.3 * torch.randn(2, 1, 40, 40)
    network = SwinUnet(1, 2, 40, **SMALL)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(network(image), disc.expand(2, -1, -1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = network.eval()(image).argmax(1) == 1
    assert (found == disc.bool()).float().mean() > 0.97


def test_errors():
    with pytest.raises(ValueError, match=r"\(88, 88\).*96, 88"):
        SwinUnet(img_size=88, **SMALL)(torch.randn(1, 3, 96, 88))
    with pytest.raises(ValueError, match="4 depths but 2 num_heads"):
        SwinUnet(num_heads=(3, 6))
