from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from da3d.errors import ParameterError
from da3d.networks import Hooked
from da3d.seeding import seeded


@pytest.fixture(autouse=True)
def _seeded():
    with seeded(0, torch.device("cpu")):
        yield


class Classifier(nn.Module):
    """An image classifier as people write them: one ReLU for two layers, in place, and layers never used."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.hidden = nn.Linear(4 * 16, 10)
        self.tanh = nn.Tanh()
        self.spare = nn.ReLU()
        self.output = nn.Linear(10, 3)
        self.softmax = nn.Softmax(1)

    def forward(self, x):
        x = F.max_pool2d(self.relu(self.norm(self.conv(x))), 2)
        x = self.relu(self.hidden(self.drop(x.flatten(1))))
        return self.softmax(self.output(self.tanh(x)))


def hooks(network):
    return [hook for module in network.modules() for hook in module._forward_hooks.values()]


def test_all_non_linearities_are_read_in_the_order_of_their_use():
    network = Classifier().eval()
    x = torch.rand(5, 1, 8, 8)
    first = network.norm(network.conv(x)).relu()
    second = network.hidden(F.max_pool2d(first, 2).flatten(1)).relu()
    hooked = Hooked(network, (1, 8, 8))
    assert hooked.layers == ("relu", "tanh")
    assert hooked.activation_width == 4 * 64 + 10 + 10
    expected = torch.cat([first.flatten(1), second, second.tanh()], 1)
    torch.testing.assert_close(hooked(x.flatten(1)), expected, rtol=0, atol=0)


def test_the_network_is_not_modified():
    network = Classifier().train()
    network.conv.weight.requires_grad_(False)
    before = deepcopy(network.state_dict())
    flags = [p.requires_grad for p in network.parameters()]
    hooked = Hooked(network, (1, 8, 8))
    assert not any(p.requires_grad for p in hooked.parameters())
    hooked(torch.rand(5, 64))
    assert all(torch.equal(a, b) for a, b in zip(before.values(), network.state_dict().values(), strict=True))
    assert all(module.training for module in network.modules())
    assert [p.requires_grad for p in network.parameters()] == flags
    assert not hooks(network)
    with torch.no_grad():
        hooked.network.output.weight.zero_()
    assert network.output.weight.any()


def test_it_stays_in_evaluation_mode():
    hooked = Hooked(Classifier(), (1, 8, 8))
    hooked.train()
    assert not any(module.training for module in hooked.modules())
    x = torch.rand(5, 64)
    assert torch.equal(hooked(x), hooked(x))  # no dropout


def test_hooks_never_stay():
    hooked = Hooked(Classifier(), (1, 8, 8))
    assert not hooks(hooked)
    hooked(torch.rand(2, 64))
    assert not hooks(hooked)
    with pytest.raises(RuntimeError):
        hooked(torch.rand(2, 63))
    with pytest.raises(RuntimeError, match="channels"), hooked._heard(hooked.layers, copies=True):
        hooked.network(torch.rand(2, 2, 8, 8))
    assert not hooks(hooked)


def test_layers_by_name():
    network = Classifier().eval()
    x = torch.rand(5, 64)
    hooked = Hooked(network, (1, 8, 8), ["output", "hidden"])
    assert hooked.activation_width == 13
    hidden = hooked.network.hidden(
        F.max_pool2d(network.norm(network.conv(x.reshape(5, 1, 8, 8))).relu(), 2).flatten(1)
    )
    expected = torch.cat([hidden, network.output(hidden.relu().tanh())], 1)
    assert torch.equal(hooked(x), expected)  # and the in-place ReLU behind `hidden` did not reach the copy


@pytest.mark.parametrize("last", [nn.Sigmoid(), nn.ReLU()])
def test_a_non_linearity_that_makes_the_output_is_not_hidden(last):
    network = nn.Sequential(nn.Linear(4, 3), nn.ELU(), nn.Linear(3, 1), last, nn.Flatten(0))
    hooked = Hooked(network, (4,))
    assert hooked.layers == ("1",)
    assert torch.equal(hooked(torch.ones(2, 4)), F.elu(network[0](torch.ones(2, 4))))


def test_networks_may_return_anything():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 3), nn.ReLU())

        def forward(self, x):
            return {"logits": self.layers(x).sum(1), "row": x}

    assert Hooked(Named(), (4,)).layers == ("layers.1",)


def test_a_gradient_reaches_the_rows():
    x = torch.rand(2, 64, requires_grad=True)
    Hooked(Classifier(), (1, 8, 8))(x).sum().backward()
    assert x.grad.any()


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.recurrent = nn.LSTM(3, 2, batch_first=True)

    def forward(self, x):
        return self.recurrent(torch.relu(self.first(x)).unsqueeze(1))[0][:, 0]


@pytest.mark.parametrize(
    ("network", "layers", "says"),
    [
        (Functional(), None, "without a hidden layer.*first, recurrent"),
        (nn.Sequential(nn.Linear(4, 1), nn.Sigmoid()), None, "without a hidden layer"),
        (Functional(), ["last"], "'last', which the target does not have; its layers are first, recurrent"),
        (Functional(), ["recurrent"], "'recurrent', whose output is not one row of numbers"),
        (Functional(), [], "layers is empty"),
        (
            nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 1)),
            None,
            r"does not take rows of shape \(4,\)",
        ),
    ],
)
def test_what_cannot_be_read(network, layers, says):
    with pytest.raises(ParameterError, match=says):
        Hooked(network, (4,), layers)


def test_layers_that_are_not_used_are_refused():
    with pytest.raises(ParameterError, match="'spare', which the target does not use"):
        Hooked(Classifier(), (1, 8, 8), ["relu", "spare"])
