import torch

from monai_ext.networks.nets import ConstantReconstruction


def test_a_constant_learns_the_median_of_the_tissue():
    """With L1 the offset takes the mean of 19 tissue pixels to their median; background stays as it is."""
    tissue = torch.arange(19.0).square() / 400  # mean 0.2921, median 0.2025
    image = torch.full((1, 1, 6, 6), -0.95)
    image.view(-1)[:19] = tissue
    network = ConstantReconstruction()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(200):
        loss = (network(image) - image).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    made = network.reconstruct(image).flatten()
    assert torch.allclose(made[:19], tissue.median().expand(19), atol=0.02)
    assert torch.equal(made[19:], image.flatten()[19:])
