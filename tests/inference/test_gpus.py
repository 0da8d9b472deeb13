"""Which GPUs a worker finds and shares out. The driver's count is a FAKE: there is no card here."""

import pytest

from inference import gpus, settings
from inference.settings import WrongSetting

NEEDED = {"DATABASE_URL": "postgresql://nowhere", "BROKER_URL": "redis://nowhere"}


@pytest.mark.parametrize(
    ("counted", "visible", "found"),
    [
        ("print(3)", None, ["0", "1", "2"]),
        ("print(2)", "5, 3", ["5", "3"]),
        ("print(2)", "GPU-8f2c,GPU-11aa", ["GPU-8f2c", "GPU-11aa"]),
        ("print(1)", "1,9,0", ["1"]),  # CUDA stops at the first that there is not
        ("print(0)", "", []),
        ("raise OSError('libcuda.so.1: cannot open shared object file')", None, []),
    ],
)
def test_gpus_are_called_as_the_environment_calls_them(
    monkeypatch: pytest.MonkeyPatch, counted: str, visible: str | None, found: list[str]
) -> None:
    monkeypatch.setattr(gpus, "_COUNT", counted)
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    if visible is not None:
        monkeypatch.setenv(gpus.VISIBLE, visible)
    assert gpus.found() == found
    assert gpus.share_out(1) == found


@pytest.mark.parametrize("written", ["0", "-1", "two", "1.5"])
def test_a_number_of_gpus_that_is_none_is_refused(written: str) -> None:
    with pytest.raises(WrongSetting, match=f"must be a number from 1, not '{written}'"):
        settings.from_environment({**NEEDED, "ATELIER_GPUS_PER_PICTURE": written})
