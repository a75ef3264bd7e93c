"""A compiled network has the weights and the names of the plain one."""

import copy

import torch
from torch import nn

from monai_ext.networks import compiled


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.last(self.first(x).relu())


def test_names_and_results_stay_and_copies_are_plain():
    torch.manual_seed(0)
    plain, graphs = Net(), []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    network = compiled(copy.deepcopy(plain), backend=backend)
    x = torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(network(x), plain(x))
    assert len(graphs) == 1
    assert list(network.state_dict()) == list(plain.state_dict())
    torch.testing.assert_close(copy.deepcopy(network)(x), plain(x))  # such as that of an EMA
