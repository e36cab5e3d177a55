"""Floating-point operations that cannot be avoided: those of the matrix products, two per multiplication."""

from collections.abc import Sequence
from itertools import pairwise

from da3d.detectors.da3d import DoubleAdversarial


def products(sizes: Sequence[int]) -> float:
    """Multiplications per row of layers of these sizes."""
    return float(sum(a * b for a, b in pairwise(sizes)))


def adversarial_step(features: int, network: DoubleAdversarial) -> float:
    """Per normal row: one step of alarm, generator and critic, for "all" activations and no trace."""
    s = network.settings
    code = s.widths[-1]
    encoder = products([features, *s.widths])
    decoder = products([code, *s.widths[-2::-1], features])
    hidden = decoder - s.widths[0] * features  # the decoder's output is no activation
    width = network.target.activation_width(s.activations)
    alarm = products([width, *s.alarm_widths, 1])
    generator = products([s.noise_width, *s.generator_widths, code])
    critic = products([code, *s.discriminator_widths, 1])
    learned = 3 * alarm - width * s.alarm_widths[0]  # forward, weights, and inputs but for the first layer's
    of_generator = 3 * generator - s.noise_width * s.generator_widths[0]
    of_critic = 3 * critic - code * s.discriminator_widths[0]
    alarms = 3 * learned + 2 * (encoder + hidden) + generator + decoder + encoder
    generators = 2 * of_generator + 2 * (decoder + encoder + alarm) + 2 * critic
    critics = 3 * of_critic + generator  # the normal codes are known from the alarm's update
    return 2 * (alarms + generators + critics)


def score(features: int, network: DoubleAdversarial) -> float:
    """Per row: what the network's score needs."""
    s = network.settings
    viewed = network.views.width
    code = s.widths[-1]
    encoder, decoder = products([viewed, *s.widths]), products([code, *s.widths[-2::-1], viewed])
    width = network.target.activation_width(s.activations)
    if not s.trace:
        return 2 * (encoder + decoder - s.widths[0] * viewed + products([width, *s.alarm_widths, 1]))
    total = (len(network.by_row.rows) + len(network.by_straight.rows)) * features
    if not s.untrained:
        width += 2 * viewed + code
        total += encoder + decoder + products([width, *s.alarm_widths, 1]) + viewed**2
        total += len(network.by_activation.rows) * width
    return 2.0 * total
