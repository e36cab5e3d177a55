"""Adam as one call per step: torch's own kernel, without what torch's optimiser classes bring along."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.adamw import adamw

__all__ = ["Adam"]


class Adam:
    """Adam (Kingma and Ba 2015), or AdamW (Loshchilov and Hutter 2019), with the numbers of torch's own.

    The classes in `torch.optim` load torch's compiler when the first of them is made, which takes more than a
    second and tens of megabytes in every process, and spend as long around their kernel as the small networks
    of this library need for a layer.

    Parameters
    ----------
    parameters : iterable of Parameter
    lr : float
        Learning rate, >= 0.
    betas : tuple of two floats
        Decay of the means of the gradient and of its square, in [0, 1).
    eps : float
        Added to the root of the mean square.
    weight_decay : float
        Pull towards zero, >= 0.
    decoupled : bool
        Whether the pull acts on the weights themselves (AdamW) and not on the gradient.

    Attributes
    ----------
    param_groups : list of one dict
        "params", "lr" and the other settings, as in torch's optimisers.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled: bool = False,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        self.param_groups: list[dict[str, Any]] = [{"params": list(parameters), **settings}]
        self._descend = adamw if decoupled else adam
        self._state: dict[int, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        group = self.param_groups[0]
        moved = [(place, p) for place, p in enumerate(group["params"]) if p.grad is not None]
        states = [self._state.get(place) or self._begin(place, p) for place, p in moved]
        self._descend(
            [p for _, p in moved],
            [p.grad for _, p in moved],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            maximize=False,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            eps=group["eps"],
            weight_decay=group["weight_decay"],
        )

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Step and moments by the parameter's place, under "state" as in torch's optimisers."""
        return {"state": self._state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        parameters = self.param_groups[0]["params"]
        self._state = {
            place: {name: tensor.to(parameters[place].device) for name, tensor in state.items()}
            for place, state in state_dict["state"].items()
        }

    def _begin(self, place: int, parameter: nn.Parameter) -> dict[str, Tensor]:
        self._state[place] = {
            "step": torch.zeros((), device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
        return self._state[place]
