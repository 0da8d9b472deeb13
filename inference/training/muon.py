"""Muon for the matrices of a transformer, AdamW for the rest, as one optimizer.

Muon replaces a matrix's momentum by the nearest (semi-)orthogonal matrix, found by five
Newton-Schulz steps (Jordan et al., 2024), scaled so that one learning rate serves every shape.
Small models have hundreds of small matrices, so equal shapes are stacked and orthogonalised
together: a few dozen kernels a step where `torch.optim.Muon` starts thousands. Raw's trainer calls
it.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

# Coefficients of the quintic iteration in Jordan's Muon.
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay, for 2-D parameters only."""

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            list(matrices), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for parameters in shapes.values():
                self._step_shape(parameters, group)

    def _step_shape(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        weights = cast("list[Tensor]", parameters)
        gradients = [p.grad for p in parameters if p.grad is not None]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[p]["momentum"] for p in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])  # noqa: SLF001 - as torch's own optimizers
        updates = orthogonalise(torch.stack(ahead))
        rows, columns = parameters[0].shape
        rate = group["lr"] * max(1.0, rows / columns) ** 0.5
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, list(updates.float().unbind()), alpha=-rate)


def orthogonalise(stack: Tensor) -> Tensor:
    """Roughly the orthogonal factor of each matrix in (M, rows, columns), in bf16."""
    x: Tensor = stack.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = QUINTIC
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


def make_optimizers(
    model: nn.Module,
    blocks: Iterable[nn.Module],
    rates: tuple[float, float, float],
    *,
    muon: bool,
) -> list[torch.optim.Optimizer]:
    """AdamW for the whole model, or AdamW and Muon, which then takes the matrices of `blocks`.

    `rates` are those of AdamW, of Muon, and the weight decay of both. Embeddings, vectors and
    tables are not matrices in Muon's sense; nor are input and output projections, which are no
    part of `blocks`.
    """
    matrices = [
        parameter
        for block in blocks
        for name, parameter in block.named_parameters()
        if muon and parameter.ndim == 2 and "table" not in name
    ]
    chosen = {id(parameter) for parameter in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    rate, muon_rate, decay = rates
    adamw = torch.optim.AdamW(
        others, lr=rate, betas=(0.9, 0.98), weight_decay=decay, fused=others[0].is_cuda
    )
    if not matrices:
        return [adamw]
    return [adamw, Muon(matrices, lr=muon_rate, weight_decay=decay)]
