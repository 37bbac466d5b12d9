"""Sessions and providers: the only file that imports onnxruntime."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx

from onnxplain.errors import InputError, ModelError, ProviderError

__all__ = ["Arrays", "Providers", "Session", "check_providers"]

Arrays: TypeAlias = "dict[str, np.ndarray[Any, Any]]"
Providers: TypeAlias = "None | str | Sequence[Any]"
"""`"auto"` (None) takes CUDA where it works, else the CPU; `"cpu"`, `"cuda"`, or ONNX Runtime's own provider list."""

LIMIT = 2**31 - 1
"""Bytes a serialized model may have; larger ones need external data."""


class Session:
    """A model loaded into ONNX Runtime.

    Args:
        model: the model or its bytes; external data is looked up in `folder`. Or the path of a file, whose data lies beside it.
        providers: where to run.
        folder: where external data lies.
        threads: threads within one operator; None leaves the choice to ONNX Runtime.
        profile: a path whose last part begins the name of a file with the time every node took; see `end_profiling`.
        optimize: whether ONNX Runtime optimizes the graph.

    Raises:
        ProviderError: a provider asked for by name is not available.
        ModelError: ONNX Runtime does not accept the model.
    """

    def __init__(
        self,
        model: onnx.ModelProto | bytes | Path,
        providers: Providers = None,
        *,
        folder: Path | None = None,
        threads: int | None = None,
        profile: Path | None = None,
        optimize: bool = True,
    ) -> None:
        import onnxruntime as ort

        names, strict = _resolve(providers)
        options = ort.SessionOptions()
        options.log_severity_level = 4 if not strict else 3
        if threads is not None:
            options.intra_op_num_threads = threads
        if not optimize:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        if folder is not None:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        try:
            data = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
        except Exception as error:
            raise ModelError(
                f"the model holds more than 2 GB of weights in itself; store them as external data ({error})"
            ) from error
        try:
            self._session = ort.InferenceSession(str(data) if isinstance(data, Path) else data, options, providers=names)
        except Exception as error:
            raise ModelError(f"ONNX Runtime {ort.__version__} does not load the model: {_first_line(error)}") from error
        self.providers: list[str] = list(self._session.get_providers())
        wanted = [n if isinstance(n, str) else n[0] for n in names]
        lost = [n for n in wanted if n not in self.providers]
        if strict and lost:
            raise ProviderError(
                f"provider {lost[0]} could not be started (running on {', '.join(self.providers)}); "
                "check the CUDA and cuDNN libraries it needs, or use the CPU"
            )
        self.inputs = {i.name: i for i in self._session.get_inputs()}
        self.outputs = [o.name for o in self._session.get_outputs()]
        self._classes = _class_labels(model) if isinstance(model, onnx.ModelProto) else {}

    def run(self, feeds: Mapping[str, np.ndarray[Any, Any]], outputs: Sequence[str] | None = None) -> dict[str, Any]:
        """Run the model; outputs by name. Maps of scores (ZipMap) have their classes in the order of the scores' columns.

        Raises:
            InputError: ONNX Runtime rejects the inputs, with its reason.
        """
        names = list(self.outputs if outputs is None else outputs)
        try:
            found = dict(zip(names, self._session.run(names, dict(feeds)), strict=True))
        except Exception as error:
            raise InputError(f"ONNX Runtime could not run the model on this input: {_first_line(error)}") from error
        for name in self._classes.keys() & found.keys():
            found[name] = [{label: row[label] for label in self._classes[name]} for row in found[name]]
        return found

    @property
    def on_device(self) -> bool:
        """Whether the model runs on something other than the CPU."""
        return self.providers[0] != "CPUExecutionProvider"

    def end_profiling(self) -> Path:
        """The file with the time every node took so far, for a session made with `profile`."""
        return Path(self._session.end_profiling())


def _class_labels(model: onnx.ModelProto) -> dict[str, list[Any]]:
    """The class labels of outputs that a ZipMap makes, in the order of its columns; ONNX Runtime sorts them."""
    makers = {o: n for n in model.graph.node for o in n.output}
    found = {}
    for output in model.graph.output:
        maker = makers.get(output.name)
        while maker is not None and maker.op_type == "Identity":
            maker = makers.get(maker.input[0])
        if maker is not None and maker.op_type == "ZipMap":
            labels: list[Any] = next((v for a in maker.attribute if len(v := onnx.helper.get_attribute_value(a))), [])
            found[output.name] = [v.decode() if isinstance(v, bytes) else v for v in labels]
    return found


def check_providers(providers: Providers) -> None:
    """Say before long work that it cannot run where it was asked to.

    Raises:
        ProviderError: unknown, or not available here.
    """
    _resolve(providers)


def _resolve(providers: Providers) -> tuple[list[Any], bool]:
    """ONNX Runtime's provider list, and whether each of them was asked for by name."""
    import onnxruntime as ort

    available = ort.get_available_providers()
    if providers is None or providers == "auto":
        usable = "CUDAExecutionProvider" in available and _has_cuda_device()
        return (["CUDAExecutionProvider"] if usable else []) + ["CPUExecutionProvider"], False
    if isinstance(providers, str):
        known = {"cpu": ["CPUExecutionProvider"], "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"]}
        if providers.lower() in known:
            names: list[Any] = known[providers.lower()]
        elif providers.endswith("ExecutionProvider"):
            names = [providers]
        else:
            raise ProviderError(f"unknown provider '{providers}'; known: auto, cpu, cuda, or a name from {', '.join(available)}")
    else:
        names = list(providers)
    for name in names:
        plain = name if isinstance(name, str) else name[0]
        if plain not in available:
            hint = "; pip install onnxruntime-gpu" if plain.startswith(("CUDA", "Tensorrt")) else ""
            raise ProviderError(f"provider {plain} is not in this ONNX Runtime, which has {', '.join(available)}{hint}")
        if plain == "CUDAExecutionProvider" and not _has_cuda_device():
            raise ProviderError("provider cuda was asked for, but no NVIDIA driver with a device is to be found; use cpu or auto")
    return names, True


@lru_cache(maxsize=1)
def _has_cuda_device() -> bool:
    """Whether the NVIDIA driver is installed and sees a device, without starting ONNX Runtime's provider."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int(0)
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except (OSError, AttributeError):
        return False


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return (text.splitlines()[0] if text else type(error).__name__)[:400]
