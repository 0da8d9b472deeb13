r"""Assemble the released weights from finished checkpoints, with the shared parts stored once.

`weights/pocket-shared` holds VAE, text encoder, tokenizer and scheduler; `pocket-raw` and
`pocket-turbo` hold a transformer and relative links to the shared parts, so that diffusers loads
either folder as it is. The limits that a repository needs are checked here, after the last write.

    python -m inference.training.release --raw build/raw/checkpoint \
        --turbo build/turbo/checkpoint --adapter build/lora/adapter --out weights
"""

import argparse
import shutil
from pathlib import Path

from inference.training import adapter as adapters
from inference.training import folder

ADAPTER, JUDGE = "pocket-lora-line", "pocket-judge"
SHARED = ("vae", "text_encoder", "tokenizer", "scheduler")
# A clone stays small, and no file is too large for any forge or mail gateway.
TOTAL_BYTES_MAX = 80_000_000
FILE_BYTES_MAX = 16_000_000


def release(raw: Path, turbo: Path, out: Path) -> int:
    """Write the weights folder; returns its size in bytes.

    Raises ValueError when the models are too large for the repository, or when Turbo was distilled
    from another Raw than the one given.
    """
    for name in SHARED:
        _copy(raw / name, out / "pocket-shared" / name)
    for source, model in ((raw, "pocket-raw"), (turbo, "pocket-turbo")):
        _copy(source / "transformer", out / model / "transformer")
        folder.write_index(out / model, is_distilled=model == "pocket-turbo")
        folder.link_shared(out / model, out / "pocket-shared")
    weights = "text_encoder/model.safetensors"
    if (raw / weights).read_bytes() != (turbo / weights).read_bytes():
        message = f"{turbo} was not distilled from {raw}: their text encoders differ"
        raise ValueError(message)
    return check(out)


def check(out: Path) -> int:
    """The size of the models in a weights folder in bytes. Raises ValueError over a limit.

    The judge lies beside the models and is none of them.
    """
    sizes = {
        path: path.stat().st_size
        for path in out.rglob("*.safetensors")
        if JUDGE not in path.parts and not any(parent.is_symlink() for parent in path.parents)
    }
    large = [str(path) for path, size in sizes.items() if size > FILE_BYTES_MAX]
    total = sum(sizes.values())
    if large or total > TOTAL_BYTES_MAX:
        message = f"{total} bytes of weights in all; files over {FILE_BYTES_MAX}: {large}"
        raise ValueError(message)
    return total


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    for file in target.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)


def main() -> None:
    parser = argparse.ArgumentParser(description="Assemble the released weights.")
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--turbo", type=Path, required=True)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--adapter-rank", type=int, help="cut the adapter to this rank")
    parser.add_argument("--adapter-strength", type=float, default=1.0, help="only with a rank")
    parser.add_argument("--out", type=Path, default=Path("weights"))
    given = parser.parse_args()
    shipped = given.out / ADAPTER
    if given.adapter is not None and given.adapter_rank is None:
        _copy(given.adapter, shipped)
    elif given.adapter is not None:
        rank, strength = given.adapter_rank, given.adapter_strength
        lost = adapters.cut(given.adapter, shipped, rank=rank, strength=strength)
        print(f"adapter cut to rank {rank}: {lost:.1%} of its energy lost")
    print(f"{release(given.raw, given.turbo, given.out):,} bytes of weights")


if __name__ == "__main__":
    main()
