"""The adversarial step of DA3D's preset "preprint" as one would write it first: a yardstick, not a library.

Plain modules, a `DataLoader`, `backward()` through every network, a loss read back after every update.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from da3d.detectors.da3d_presets import Settings


class Dense(nn.Module):
    """Linear layers with SELU and dropout between them, which keep their hidden activations."""

    def __init__(self, sizes: list[int], dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.dropout = nn.Dropout(dropout)
        for layer in self.layers:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map rows to outputs."""
        self.hidden = []
        for layer in self.layers[:-1]:
            self.hidden.append(torch.selu(layer(x)))
            x = self.dropout(self.hidden[-1])
        return self.layers[-1](x)


class Textbook:
    """Networks, optimisers and loader; `step` is one batch of the game."""

    def __init__(self, rows: Tensor, s: Settings) -> None:
        features, code = rows.shape[1], s.widths[-1]
        hidden = 2 * sum(s.widths[:-1])
        self.noise_width, self.sigma = s.noise_width, s.sigma
        self.encoder = Dense([features, *s.widths], s.dropout).eval()
        self.decoder = Dense([code, *s.widths[-2::-1], features], s.dropout).eval()
        self.alarm = Dense([hidden, *s.alarm_widths, 1], s.dropout)
        self.generator = Dense([s.noise_width, *s.generator_widths, code], s.dropout)
        self.critic = Dense([code, *s.discriminator_widths, 1], s.dropout)
        self.of_alarm, self.of_generator, self.of_critic = (
            torch.optim.Adam(network.parameters(), lr=1e-4)
            for network in (self.alarm, self.generator, self.critic)
        )
        loader = DataLoader(TensorDataset(rows), batch_size=s.batch_size, shuffle=True, drop_last=True)
        self.batches = self._endless(loader)

    @staticmethod
    def _endless(loader: DataLoader):
        while True:
            for (batch,) in loader:
                yield batch

    def read(self, x: Tensor) -> Tensor:
        """The alarm's logit for rows."""
        code = self.encoder(x)
        self.decoder(code)
        return self.alarm(torch.cat(self.encoder.hidden + self.decoder.hidden, 1))

    def read_code(self, code: Tensor) -> Tensor:
        """The alarm's logit for codes."""
        self.encoder(self.decoder(code).sigmoid())
        return self.alarm(torch.cat(self.encoder.hidden + self.decoder.hidden, 1))

    def generate(self, rows: int) -> Tensor:
        """Codes from noise."""
        return self.generator(torch.randn(rows, self.noise_width))

    def step(self) -> tuple[float, float, float]:
        """Alarm, generator and critic, each on the same batch."""
        x = next(self.batches)
        return (
            self._descend(self.of_alarm, lambda: self._alarm_loss(x)),
            self._descend(self.of_generator, lambda: self._generator_loss(len(x))),
            self._descend(self.of_critic, lambda: self._critic_loss(x)),
        )

    def _descend(self, optimizer: torch.optim.Optimizer, loss_of: Callable[[], Tensor]) -> float:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 0.01)
        optimizer.step()
        return loss.item()

    def _alarm_loss(self, x: Tensor) -> Tensor:
        parts = [
            (self.read(x), 0.0),
            (self.read(torch.randn_like(x) + 0.5), 1.0),
            (self.read_code(self.generate(len(x))), 1.0),
        ]
        losses = [F.binary_cross_entropy_with_logits(a, torch.full_like(a, target)) for a, target in parts]
        return torch.stack(losses).sum()

    def _generator_loss(self, rows: int) -> Tensor:
        return self.read_code(self.generate(rows)).mean() - self.critic(self.generate(rows)).mean()

    def _critic_loss(self, x: Tensor) -> Tensor:
        code = self.encoder(x)
        wide = self.sigma * torch.randn_like(code)
        generated = self.critic(self.generate(len(x))).mean()
        return self.critic(code).mean() + generated - 2 * self.critic(wide).mean()
