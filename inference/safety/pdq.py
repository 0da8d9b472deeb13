"""PDQ: a picture as 256 bits that survive re-compression, resizing and light changes, and matching.

PDQ is Meta's perceptual hash, the one that industry lists of known pictures are exchanged in
(github.com/facebook/ThreatExchange); computing it is the package pdqhash's. Two pictures are the
same if at most 31 of the bits differ. A plain picture has a hash that fits many others: its quality
is low, and it is not matched. Finding every near hash of a long list is ours: `HashIndex`.
"""

from dataclasses import dataclass

import numpy as np
import pdqhash
from numpy.typing import NDArray
from PIL.Image import Image, Resampling, Transpose

BYTES = 32
DISTANCE_MAX = 31  # of 256 bits; PDQ's authors' recommendation for "the same picture"
QUALITY_MIN = 50  # of 100; below it the authors advise against matching
SIDE_MAX = 256  # PDQ looks at 64 x 64 means: more pixels change little but the time

BANDS, BAND_BITS = 16, 16
_ONE_BIT = np.concatenate([[0], 1 << np.arange(BAND_BITS)]).astype(np.uint16)

Hashes = NDArray[np.uint8]


@dataclass(frozen=True)
class Fingerprint:
    """A picture's hashes in all eight orientations, (8, 32) bytes, and their quality, 0 to 100."""

    orientations: Hashes
    quality: int

    @property
    def is_usable(self) -> bool:
        """Whether the picture has enough in it to be told from others."""
        return self.quality >= QUALITY_MIN


def fingerprint(image: Image) -> Fingerprint:
    """Hash a picture as it is and turned and mirrored in all ways; the first is as it is."""
    small = image.convert("RGB")
    if max(small.size) > SIDE_MAX:
        small.thumbnail((SIDE_MAX, SIDE_MAX), Resampling.BILINEAR)
    # The package can also derive the eight from one transform, but up to 42 bits off.
    turned = [small, *(small.transpose(way) for way in Transpose)]
    hashed = [pdqhash.compute(np.asarray(image)) for image in turned]
    bits = np.stack([bits for bits, _ in hashed]).astype(np.uint8)
    return Fingerprint(np.packbits(bits, axis=1), int(hashed[0][1]))


class HashIndex:
    """A list of hashes that finds all within DISTANCE_MAX of a few given ones, exactly.

    Each hash is cut into 16 bands of 16 bits. If at most 31 bits differ, then in at least one band
    at most one bit does (31 < 16 x 2): looking up every band as it is and with each one of its bits
    flipped meets every match, and few others, which the full distance sorts out. Memory: 100 bytes
    a hash.
    """

    def __init__(self, hashes: Hashes) -> None:
        """Index `hashes`, (N, 32) bytes; row numbers are what `near` answers with."""
        rows = np.ascontiguousarray(hashes, np.uint8).reshape(-1, BYTES)
        self._words = rows.view(np.uint64)
        bands = rows.view(np.uint16)
        self._order = np.empty((BANDS, len(rows)), np.uint32)
        self._start = np.zeros((BANDS, 2**BAND_BITS + 1), np.int64)
        for band in range(BANDS):
            self._order[band] = np.argsort(bands[:, band], kind="stable")
            counts = np.bincount(bands[:, band], minlength=2**BAND_BITS)
            np.cumsum(counts, out=self._start[band, 1:])

    def __len__(self) -> int:
        return len(self._words)

    def near(self, wanted: Hashes) -> list[tuple[int, int]]:
        """Rows within DISTANCE_MAX of any of `wanted`, (M, 32), with distances, nearest first."""
        asked = np.ascontiguousarray(wanted, np.uint8).reshape(-1, BYTES)
        keys = (asked.view(np.uint16)[:, :, None] ^ _ONE_BIT).astype(np.int64)
        band = np.broadcast_to(np.arange(BANDS)[None, :, None], keys.shape).ravel()
        keys = keys.ravel()
        first = self._start[band, keys]
        counts = self._start[band, keys + 1] - first
        before = np.concatenate([[0], np.cumsum(counts)[:-1]])
        places = np.repeat(first - before, counts) + np.arange(counts.sum())
        rows = self._order[np.repeat(band, counts), places]
        question = np.repeat(np.arange(len(asked)).repeat(BANDS * len(_ONE_BIT)), counts)
        differing = self._words[rows] ^ asked.view(np.uint64)[question]
        distances = np.bitwise_count(differing).sum(1)
        is_near = distances <= DISTANCE_MAX
        nearest: dict[int, int] = {}
        for row, distance in zip(rows[is_near].tolist(), distances[is_near].tolist(), strict=True):
            nearest[row] = min(distance, nearest.get(row, distance))
        return sorted(nearest.items(), key=lambda found: (found[1], found[0]))
