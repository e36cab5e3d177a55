import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from da3d.networks import (
    Autoencoder,
    ConvolutionalAutoencoder,
    HiddenCodeAutoencoder,
    PooledAutoencoder,
    Traced,
)
from da3d.seeding import seeded

CPU = torch.device("cpu")
KINDS = [ConvolutionalAutoencoder, PooledAutoencoder]


@pytest.fixture(autouse=True)
def _seeded():
    with seeded(0, CPU):
        yield


def maps(part, x):
    """Shapes of the maps that a part of an autoencoder makes, convolution by convolution or pooling."""
    shapes = []
    for layer in part:
        x = layer(x)
        if not isinstance(layer, nn.Flatten) and tuple(x.shape[1:]) not in shapes[-1:]:
            shapes.append(tuple(x.shape[1:]))
    return shapes


def test_the_image_autoencoder_of_da3d_is_that_of_the_authors_code():
    target = ConvolutionalAutoencoder((1, 28, 28), unit=True).eval()
    x = torch.rand(3, 784)
    assert maps(target.encoder, x) == [(1, 28, 28), (32, 14, 14), (16, 7, 7), (8, 4, 4), (16, 1, 1)]
    assert maps(target.decoder, target.encoder(x)) == [
        (16, 1, 1),
        (8, 2, 2),
        (16, 6, 6),
        (32, 14, 14),
        (1, 28, 28),
    ]
    assert target.code_width == 16
    assert target.activation_width("decoder") == 6880  # the alarm's input in the authors' code
    assert all(
        (layer.eps, layer.momentum) == (1e-3, pytest.approx(0.01))  # Keras writes 0.99 for this momentum
        for layer in target.modules()
        if isinstance(layer, nn.BatchNorm2d)
    )
    assert [m.kernel_size for m in target.decoder if isinstance(m, nn.ConvTranspose2d)] == [(4, 4)] * 4
    assert [m.padding[0] for m in target.decoder if isinstance(m, nn.ConvTranspose2d)] == [1, 0, 0, 1]


def test_the_image_autoencoder_of_a3_is_that_of_the_authors_code():
    target = PooledAutoencoder((1, 28, 28), unit=True).eval()
    _, in_encoder = target.encoder.trace(torch.rand(3, 784))
    _, in_decoder = target.decoder.trace(torch.rand(3, target.code_width))
    widths = [a.shape[1] for a in in_encoder + in_decoder]
    assert widths == [16 * 14 * 14, 8 * 7 * 7, 8 * 4 * 4, 8 * 4 * 4, 8 * 8 * 8, 16 * 14 * 14]
    assert target.activation_width("all") == 7432  # the alarm's input in the authors' code
    assert [m.kernel_size for m in target.modules() if isinstance(m, nn.Conv2d)] == [(3, 3)] * 7
    order = [type(layer).__name__ for layer in target.decoder]
    assert order[-6:-3] == ["Conv2d", "Dropout2d", "ReLU"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (3, 32, 32), (1, 64, 64), (2, 9, 31), (1, 1, 5), (1, 3, 2), (1, 45, 4)]
)
def test_images_of_any_size(kind, shape):
    target = kind(shape, unit=True)
    x = torch.rand(4, math.prod(shape))
    output = target(x)  # in training mode
    assert output.shape == x.shape
    output.sum().backward()
    assert all(p.grad is not None for p in target.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_every_side_up_to_seventy(kind):
    for side in range(1, 71):
        target = kind((1, side, side + 3), unit=True).eval()
        x = torch.rand(1, side * (side + 3))
        assert target(x).shape == x.shape


def test_sizes_follow_the_image():
    assert ConvolutionalAutoencoder((3, 32, 32), unit=True).code_width == 16
    small = PooledAutoencoder((1, 8, 8), unit=True)
    assert small.code_width == 8 * 2 * 2  # fewer numbers than pixels: it cannot just copy
    assert (
        ConvolutionalAutoencoder((1, 28, 28), filters=(4, 4, 2), code_channels=5, unit=True).code_width == 5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_rows_hold_pixels_channel_by_channel_and_line_by_line(kind):
    target = kind((3, 8, 10), unit=True).eval()
    image = torch.rand(2, 3, 8, 10)
    first = next(layer for layer in target.encoder if isinstance(layer, nn.Conv2d))
    seen = []
    hook = first.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    target(image.flatten(1))
    hook.remove()
    assert torch.equal(seen[0], image)


@pytest.mark.parametrize("kind", KINDS)
def test_they_show_what_autoencoders_show(kind):
    target = kind((1, 8, 8), unit=True).eval()
    x = torch.rand(5, 64)
    code = target.encoder(x)
    encoder, decoder, both = (target.activations(x, where) for where in ("encoder", "decoder", "all"))
    assert torch.equal(both, torch.cat([encoder, decoder], 1))
    assert [target.activation_width(w) for w in ("encoder", "decoder", "all")] == [
        encoder.shape[1],
        decoder.shape[1],
        both.shape[1],
    ]
    assert torch.equal(target.activations_of_code(code, "decoder"), decoder)
    again = target.activations(target.decode(code), "encoder")
    assert torch.equal(target.activations_of_code(code, "all"), torch.cat([again, decoder], 1))
    assert torch.equal(target.decode(code), target(x).sigmoid())
    assert torch.equal(kind((1, 8, 8), unit=False).as_row(x), x)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_read_alone(kind):
    target = kind((1, 8, 8), unit=True).eval()
    x = torch.rand(512, 64)
    with torch.inference_mode():
        whole = target.activations(x, "all")
        order = torch.randperm(512)
        torch.testing.assert_close(target.activations(x[order], "all"), whole[order], rtol=1e-6, atol=1e-6)


def test_counting_activations_leaves_no_trace():
    before = torch.get_rng_state()
    target = ConvolutionalAutoencoder((1, 8, 8), unit=True)
    norm = next(layer for layer in target.modules() if isinstance(layer, nn.BatchNorm2d))
    assert target.training
    assert norm.training
    assert norm.num_batches_tracked == 0
    assert not norm.running_mean.any()
    assert not torch.equal(before, torch.get_rng_state())  # weights are drawn, ...
    started = torch.get_rng_state()
    target._counted(64)
    assert torch.equal(started, torch.get_rng_state())  # ... activations are not


def test_weights_start_glorot_uniform():
    layer = next(
        m for m in ConvolutionalAutoencoder((3, 32, 32), unit=True).encoder if isinstance(m, nn.Conv2d)
    )
    bound = (6 / (9 * 3 + 9 * 32)) ** 0.5
    assert 0.9 * bound < layer.weight.abs().max() <= bound
    assert not layer.bias.any()


def test_traced_shows_every_non_linearity_and_nothing_else():
    layers = Traced(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 1))
    x = torch.randn(6, 3)
    output, activations = layers.eval().trace(x)
    assert torch.equal(output, layers(x))
    first = layers[0](x).tanh()
    assert torch.equal(activations[0], first)
    assert torch.equal(activations[1], F.relu(layers[3](first)))
    assert len(activations) == 2


def test_the_dense_autoencoder_of_a3_reads_its_code_as_well():
    target = HiddenCodeAutoencoder(126, (200, 100, 50, 25), unit=True).eval()
    assert target.activation_width("all") == 725  # the alarm's input in the authors' code
    assert HiddenCodeAutoencoder(30, (50, 25, 10, 5), unit=True).activation_width("all") == 175
    x = torch.rand(4, 126)
    code = target.encoder(x)
    assert (code >= 0).all()
    assert torch.equal(target.activations(x, "encoder")[:, -25:], code)
    assert [type(layer).__name__ for layer in target.decoder][-2:] == ["Dropout", "SteadyLinear"]
    assert sum(isinstance(layer, nn.Dropout) for layer in target.modules()) == 1
    assert HiddenCodeAutoencoder(6, (3,), unit=False).eval()(torch.rand(4, 6)).shape == (4, 6)


def test_the_dense_autoencoder_is_drawn_as_before():
    with seeded(3, CPU):
        target = Autoencoder(5, (4, 3, 2), unit=False)
    assert list(target.state_dict()) == [
        f"{part}.{layer}.{kind}"
        for part in ("encoder", "decoder")
        for layer in ("hidden.0", "hidden.1", "output")
        for kind in ("weight", "bias")
    ]
    assert [target.activation_width(w) for w in ("encoder", "decoder", "all")] == [7, 7, 14]
