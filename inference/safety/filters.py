"""Which classifiers judge pictures: the floor, which always does, and what the operator adds to it.

ATELIER_IMAGE_FILTERS names further ones with commas between them (nudenet, falconsai, endpoint).
Each sees every picture, and the strictest verdict counts. A name that is unknown, or a filter that
cannot load, stops generation: a studio that was told to look twice must not look once.
"""

import os
from collections.abc import Callable, Mapping, Sequence

from PIL.Image import Image

from inference.safety import FilterUnavailable, ImageVerdict
from inference.safety.image import ImageFilter
from inference.safety.output import ImageFilter as AnyFilter
from inference.safety.output import strictest

VARIABLE = "ATELIER_IMAGE_FILTERS"


class ImageFilters:
    """Several filters as one: all load, all look, the strictest decides."""

    def __init__(self, filters: Sequence[AnyFilter]) -> None:
        """Take at least one; load nothing."""
        assert filters, "the floor is always there"
        self.filters = tuple(filters)
        self.is_local = all(one.is_local for one in filters)

    def load(self) -> None:
        """Load all. Raises `FilterUnavailable` for the first that cannot."""
        for one in self.filters:
            one.load()

    def check(self, image: Image) -> ImageVerdict:
        """Ask all until one blocks. Raises `FilterUnavailable` if one of those cannot say."""
        verdicts = []
        for one in self.filters:
            verdicts.append(one.check(image))
            if verdicts[-1].action == "block":
                break
        return strictest(verdicts)


class Unknown:
    """A name that no filter has: it judges nothing, so nothing is let through."""

    is_local = True

    def __init__(self, name: str) -> None:
        """Remember what was asked for."""
        self._name = name

    def load(self) -> None:
        """Raise `FilterUnavailable`."""
        raise FilterUnavailable(
            f"{VARIABLE} names “{self._name}”, which is no picture filter (there are "
            f"{', '.join(FURTHER)}), so no picture can be made. Correct it and restart the worker."
        )

    def check(self, _: Image) -> ImageVerdict:
        """Raise `FilterUnavailable`."""
        self.load()
        raise AssertionError


def chosen(environment: Mapping[str, str] = os.environ) -> ImageFilters:
    """The floor and whatever the environment adds to it; loads nothing."""
    said = environment.get(VARIABLE, "").lower().split(",")
    names = [name for name in map(str.strip, said) if name]
    further = [FURTHER[name](environment) if name in FURTHER else Unknown(name) for name in names]
    return ImageFilters([ImageFilter(), *further])


def _nudenet(_: Mapping[str, str]) -> AnyFilter:
    from inference.safety.nudenet import NudeNetFilter  # noqa: PLC0415 - only where it is asked for

    return NudeNetFilter()


def _falconsai(environment: Mapping[str, str]) -> AnyFilter:
    from inference.safety.falconsai import FalconsaiFilter  # noqa: PLC0415 - as above

    return FalconsaiFilter(environment.get("ATELIER_FALCONSAI", ""))


def _endpoint(environment: Mapping[str, str]) -> AnyFilter:
    from inference.safety.endpoint import EndpointFilter  # noqa: PLC0415 - as above

    return EndpointFilter(
        environment.get("ATELIER_IMAGE_ENDPOINT", ""),
        environment.get("ATELIER_IMAGE_ENDPOINT_KEY", ""),
        environment.get("ATELIER_IMAGE_ENDPOINT_MODEL", "omni-moderation-latest"),
    )


FURTHER: Mapping[str, Callable[[Mapping[str, str]], AnyFilter]] = {
    "nudenet": _nudenet,
    "falconsai": _falconsai,
    "endpoint": _endpoint,
}
