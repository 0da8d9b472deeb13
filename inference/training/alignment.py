"""Representation alignment (REPA) in its improved form (iREPA), an option of Raw's first stage.

A middle block's image tokens are projected by one convolution to the features that a frozen
encoder sees in the clean picture, and pulled towards them by cosine similarity; the features are
normalised over the picture first, so that their layout counts and not their mean (Yu et al. 2024,
arXiv 2410.06940; Singh et al. 2025, arXiv 2512.10794). The encoder is a small CNN in the judge's
form, trained on the art alone with a seed of its own: never the judge that scores. Raw calls it.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import Krea2Transformer2DModel
from torch import Tensor, nn
from torch.nn import functional

from inference.training import flow, judge


class Alignment(nn.Module):
    """The projection that is trained, and the hook that keeps a block's output."""

    def __init__(self, transformer: Krea2Transformer2DModel, block: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(transformer.hidden_size, judge.FEATURES, 3, padding=1)
        self.kept: list[Tensor] = []
        transformer.transformer_blocks[block].register_forward_hook(self._keep)

    def _keep(self, _: nn.Module, __: Any, out: Tensor) -> None:
        self.kept[:] = [out]

    def forward(self, targets: Tensor) -> Tensor:
        """1 - cosine, averaged, of the last forward pass and `targets` (B, F, rows, columns)."""
        rows, columns = targets.shape[-2:]
        tokens = self.kept.pop()[:, -rows * columns :].float()
        seen = self.project(tokens.mT.reshape(len(tokens), -1, rows, columns))
        return 1 - functional.cosine_similarity(seen.float(), targets.float(), dim=1).mean()


class Encoder:
    """The frozen CNN, as a function of pictures."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.body = judge.load(folder, device).body

    @torch.no_grad()
    def __call__(self, pictures: Tensor, grid: flow.Grid) -> Tensor:
        """Features (B, F, rows, columns) of pictures in [-1, 1], normalised over each picture."""
        features = functional.adaptive_avg_pool2d(self.body(pictures).float(), grid)
        mean = features.mean((2, 3), keepdim=True)
        deviation = features.std((2, 3), keepdim=True)
        return ((features - mean) / (deviation + 1e-6)).bfloat16()
