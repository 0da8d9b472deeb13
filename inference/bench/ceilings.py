"""What this machine can do at best: matrix products and copies, in the run judged by them."""

from collections.abc import Callable
from functools import partial

import torch

from inference.bench.timing import in_turns
from inference.engine.transformer.block import Float8Projection
from inference.engine.transformer.pointwise import FLOAT8

GPU_SIDE, CPU_SIDE = 8192, 2048
GPU_COPY_BYTES, CPU_COPY_BYTES = 4 * 2**30, 2**28
ROUNDS = 10
PRODUCTS = 5  # a timing, so that starting one does not count


def ceilings() -> dict[str, float]:
    """TFLOP/s of square products in each precision, and GB/s of a copy (read plus written)."""
    on_card = torch.cuda.is_available()
    device = torch.device("cuda" if on_card else "cpu")
    side = GPU_SIDE if on_card else CPU_SIDE
    dtype = torch.bfloat16 if on_card else torch.float32
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    works: dict[str, Callable[[], object]] = {
        f"{str(dtype).removeprefix('torch.')} TFLOP/s": partial(torch.matmul, left, right)
    }
    if on_card:
        works["float8 TFLOP/s"] = _float8_product(left, right)
    found = {
        name: 2 * side**3 * PRODUCTS / timing.best / 1e12
        for name, timing in in_turns(
            {name: partial(_repeat, work) for name, work in works.items()}, ROUNDS
        ).items()
    }
    count = GPU_COPY_BYTES if on_card else CPU_COPY_BYTES
    source = torch.ones(count, dtype=torch.uint8, device=device)
    copy = in_turns({"copy": partial(torch.empty_like(source).copy_, source)}, ROUNDS)["copy"]
    return found | {"copy GB/s": 2 * count / copy.best / 1e9}


def _float8_product(left: torch.Tensor, right: torch.Tensor) -> Callable[[], object]:
    weight = Float8Projection(right, [len(right)])
    return partial(
        torch._scaled_mm,  # noqa: SLF001 - as the engine calls it
        left.to(FLOAT8),
        weight.weight.t(),
        scale_a=weight.one,
        scale_b=weight.one,
        out_dtype=left.dtype,
        use_fast_accum=True,
    )


def _repeat(work: Callable[[], object]) -> None:
    for _ in range(PRODUCTS):
        work()
