"""Our Triton kernels give what the plain functions give. On a card alone: a CPU has no Triton."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from inference.engine.transformer.attention import attend
from inference.engine.transformer.block import Shape
from inference.engine.transformer.choice import fastest_add, fastest_pointwise
from inference.engine.transformer.low_rank import add_along
from inference.engine.transformer.pointwise import FLOAT8, Pointwise, Product, Rows

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a card")

SHAPE = Shape(width=768, heads=6, kv_heads=2, head_dim=128, eps=1e-5)
ROWS, INNER = 70, 1000
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.008}
TOLERANCE_FLOAT8 = 0.03


def draw(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(size, device="cuda", dtype=dtype)


def difference(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    return float((ours.float() - theirs.float()).norm() / theirs.float().norm())


def whole(rows: Rows) -> Tensor:
    return rows.values.float() if rows.scale is None else rows.values.float() * rows.scale


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("eight", [False, True], ids=["plain", "float8"])
@torch.no_grad()
def test_fused_kernels_give_what_the_plain_functions_give(dtype: torch.dtype, eight: bool) -> None:  # noqa: FBT001 - pytest's own
    plain = Pointwise(SHAPE.eps, eight=eight, eight_heads=eight)
    fused = fastest_pointwise(torch.device("cuda"), dtype, SHAPE, eight=eight, eight_heads=eight)
    assert type(fused) is not Pointwise, "the kernels run here"
    tolerance = TOLERANCE_FLOAT8 if eight else TOLERANCE[dtype]

    def product(width: int) -> Product:
        if not eight:
            return Product(draw(ROWS, width, dtype=dtype))
        return Product(draw(ROWS, width, dtype=dtype), draw(ROWS, 1).exp(), draw(width).exp())

    x, gate, norm = (
        draw(ROWS, SHAPE.width, dtype=dtype),
        draw(SHAPE.width, dtype=dtype),
        draw(768).exp(),
    )
    by = draw(SHAPE.width, dtype=dtype), draw(SHAPE.width, dtype=dtype)
    added, feed, fused_in = (
        product(SHAPE.width),
        product(2 * INNER),
        product(sum(SHAPE.attention_parts)),
    )
    angles = draw(ROWS // 2, 64)
    widths = (SHAPE.attention_parts[0], SHAPE.attention_parts[1])

    def answers(form: Pointwise) -> list[Tensor]:
        after, rows = form.added_and_modulated(x, added, gate, norm, by)
        heads = form.heads(
            fused_in, widths, (norm[:128], norm[128:256]), (angles.cos(), angles.sin())
        )
        made = (form.modulated(x, norm, by), rows, form.gated(x, fused_in), form.swiglu(feed))
        return [after, form.added(x, added, gate), *heads, *map(whole, made)]

    for ours, theirs in zip(answers(fused), answers(plain), strict=True):
        assert difference(ours, theirs) <= tolerance


@pytest.mark.parametrize("tokens", [64, 200, 1000])
@torch.no_grad()
def test_8_bit_attention_gives_what_its_formula_gives(tokens: int) -> None:
    query, key = (draw(1, tokens, heads, 128).to(FLOAT8) for heads in (6, 2))
    value = draw(1, tokens, 2, 128, dtype=torch.bfloat16)
    ours = attend(query, key, value, tokens, kernel="float8")
    written = attend(query.cpu(), key.cpu(), value.cpu(), tokens, kernel="float8")
    assert difference(ours.cpu(), written) <= 0.04


def test_8_bit_attention_reads_parts_of_a_larger_tensor() -> None:
    """As several processes leave them: queries, keys and values of a row beside each other."""
    whole = torch.randn(1, 500, 6 + 2 + 2, 128, device="cuda", dtype=torch.bfloat16)
    parts = torch.split(whole, [6, 2, 2], dim=2)
    copies = [part.contiguous() for part in parts]
    given, copied = (
        attend(query.to(FLOAT8), key.to(FLOAT8), value, 500, kernel="float8")
        for query, key, value in (parts, copies)
    )
    eight = torch.split(whole.to(FLOAT8), [6, 2, 2], dim=2)
    assert torch.equal(given, copied)
    assert torch.equal(attend(eight[0], eight[1], parts[2], 500, kernel="float8"), copied)


@pytest.mark.parametrize("channels", [16, 96, 384])
@torch.no_grad()
def test_the_vaes_kernels_give_what_torch_gives(channels: int) -> None:
    kernels = pytest.importorskip("inference.engine.vae_kernels")
    x, other = (draw(1, channels, 9, 7) for _ in range(2))
    bias, gamma = draw(channels), draw(channels)
    shifted = x + bias[:, None, None]
    normed = functional.normalize(shifted, dim=1) * channels**0.5 * gamma[:, None, None]
    assert difference(kernels.norm_silu(x, bias, gamma), functional.silu(normed)) <= 1e-5
    assert difference(kernels.join(x, other, bias), x + other + bias[:, None, None]) <= 1e-6


@pytest.mark.parametrize("rank", [16, 32, 128])
@pytest.mark.parametrize("widths", [[768, 256, 256, 768], [1024, 1024], [640]], ids=len)
@torch.no_grad()
def test_the_loras_kernel_adds_what_the_plain_product_adds(widths: list[int], rank: int) -> None:
    add = fastest_add(torch.device("cuda"), torch.bfloat16, widths)
    assert add is not add_along, "the kernel runs here"
    ups = [draw(width, rank, dtype=torch.bfloat16) for width in widths]
    up, narrow = torch.block_diag(*ups), draw(ROWS, rank * len(widths), dtype=torch.bfloat16)
    ours = draw(ROWS, sum(widths), dtype=torch.bfloat16)
    theirs = ours.double() + narrow.double() @ up.double().T
    add(ours, narrow, up, widths)
    assert difference(ours.double(), theirs) <= TOLERANCE[torch.bfloat16]
