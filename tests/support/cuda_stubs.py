"""ONNX Runtime's CUDA provider without a GPU: it loads against stub libraries, places nodes as it would, and runs nothing.

The wheel of onnxruntime-gpu holds the real provider with its kernels. What it needs of CUDA to start is little: libraries that have
its symbols, and a driver that tells of one device. The stubs are built with the C compiler from the symbols that the provider asks for.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

__all__ = ["build_stubs", "place", "why_not", "with_stubs"]

BODIES = {
    "cudaGetErrorString cudaGetErrorName cublasGetStatusString cublasGetStatusName": 'const char* {name}(void) {{ return "none"; }}',
    "cudaGetDeviceCount": "int {name}(int* count) {{ *count = 1; return 0; }}",
    "cudaGetDevice": "int {name}(int* device) {{ *device = 0; return 0; }}",
    "cudaMemGetInfo": "int {name}(size_t* free, size_t* total) {{ *free = *total = (size_t)1 << 33; return 0; }}",
    "cudaDriverGetVersion cudaRuntimeGetVersion": "int {name}(int* version) {{ *version = {cuda}000; return 0; }}",
    "cudaGetDeviceProperties": 'int {name}(char* p, int device) {{ memset(p, 0, 512); strcpy(p, "none"); return 0; }}',
    # Attributes 75 and 76 are the compute capability: 9.0.
    "cudaDeviceGetAttribute": "int {name}(int* v, int a, int d) {{ *v = a == 75 ? 9 : a == 76 ? 0 : 64; return 0; }}",
    "cudaMalloc cudaHostAlloc cudaMallocHost": "int {name}(void** at, size_t n) {{ *at = malloc(n ? n : 1); return 0; }}",
    "cudaEventCreate cudaEventCreateWithFlags cudaStreamCreate cudaStreamCreateWithFlags cublasCreate_v2 cublasLtCreate cudnnCreate":
        "int {name}(void** at) {{ *at = malloc(4096); return 0; }}",
    "__cudaRegisterFatBinary": "void** {name}(void* code) {{ static void* handle[4]; return handle; }}",
}  # fmt: skip
"""C for the functions whose answer matters; all others return 0."""

UNVERSIONED = {
    "libcuda.so.1": ["cuTensorMapEncodeTiled"],
    "libcurand.so.10": ["curandCreateGenerator"],
    "libnvinfer_plugin.so.10": ["initLibNvInferPlugins"],
    "libnvonnxparser.so.10": ["createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL"],
    "libnvinfer.so.10": [
        *(f"createInfer{kind}_INTERNAL" for kind in ("Builder", "Refitter", "Runtime")),
        "getInferLibVersion",
        "getPluginRegistry",
    ],
}
"""Libraries whose symbols carry no version, with those that are asked for. TensorRT's only matter for listing kernels."""


def why_not() -> str:
    """What is missing for placing nodes without a GPU; empty where nothing is."""
    if not _library("cuda").exists():
        return "this ONNX Runtime has no CUDA provider"
    lost = [tool for tool in ("cc", "nm") if shutil.which(tool) is None]
    return f"there is no {lost[0]} to build stub libraries with" if lost else ""


def build_stubs(folder: Path) -> Path:
    """Write stub libraries into a folder; the folder."""
    asked: dict[str, set[str]] = {library: set(names) for library, names in UNVERSIONED.items()}
    for provider in ("cuda", "tensorrt"):
        listed = subprocess.run(["nm", "-D", str(_library(provider))], capture_output=True, text=True, check=True).stdout
        for symbol, library in re.findall(r"\sU (\S+)@(lib(?:cublasLt|cublas|cudart|cudnn)\.so\.\d+)", listed):
            asked.setdefault(library, set()).add(symbol)
    cuda = next((name.rpartition(".")[2] for name in asked if name.startswith("libcudart")), "12")
    for library, names in asked.items():
        (folder / f"{library}.c").write_text(
            "#include <stdlib.h>\n#include <string.h>\n" + "\n".join(_stub(n, cuda) for n in sorted(names))
        )
        (folder / f"{library}.map").write_text(f"{library} {{ global: *; }};\n")
        versions = [] if library in UNVERSIONED else [f"-Wl,--version-script={folder / library}.map"]
        words = ["cc", "-w", "-shared", "-fPIC", "-fno-builtin", "-o", str(folder / library), str(folder / f"{library}.c")]
        subprocess.run([*words, f"-Wl,-soname,{library}", *versions], check=True)
    return folder


def place(models: Iterable[Path], stubs: Path, *, optimized: bool = False) -> dict[str, dict[str, Any]]:
    """Where the nodes of models would run: by path, `on_cpu` the names of nodes placed there, and `copies` from and to the
    device within the graph, each with its kind, the tensor, and whether that depends on extents alone."""
    answer = stubs / f"{uuid4().hex}.json"  # ONNX Runtime may write to standard output itself
    with_stubs(stubs, [__file__, str(answer), "optimized" if optimized else "as written", *(str(m) for m in models)])
    found: dict[str, dict[str, Any]] = json.loads(answer.read_text())
    return found


def with_stubs(stubs: Path, words: Sequence[str]) -> None:
    """Run a Python process in which CUDA is the stubs."""
    path = f"{stubs}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    done = subprocess.run([sys.executable, *words], env={**os.environ, "LD_LIBRARY_PATH": path}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the process with stub libraries failed ({done.returncode}): {done.stderr[-2000:]}")


def _library(provider: str) -> Path:
    found = importlib.util.find_spec("onnxruntime")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "capi" / f"libonnxruntime_providers_{provider}.so"


def _stub(name: str, cuda: str) -> str:
    body = next((body for names, body in BODIES.items() if name in names.split()), "long {name}(void) {{ return 0; }}")
    return body.format(name=name, cuda=cuda)


def _place(path: str, optimized: bool) -> dict[str, Any]:
    """In the process with the stubs: a session, and what it made of the model."""
    import onnx
    import onnxruntime as ort

    out = Path(path).with_suffix(".placed")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(out)
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    cuda = ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"})
    session = ort.InferenceSession(path, options, providers=[cuda, "CPUExecutionProvider"])
    assert session.get_providers()[0] == "CUDAExecutionProvider", "the CUDA provider did not load"
    parts = session.get_provider_graph_assignment_info()
    on_cpu = [node.name for part in parts if part.ep_name == "CPUExecutionProvider" for node in part.get_nodes()]
    placed = onnx.load(out)
    out.unlink()
    return {"on_cpu": on_cpu, "copies": _copies(placed.graph, _of_extents(placed.graph))}


def _of_extents(graph: Any, outer: frozenset[str] = frozenset()) -> set[str]:
    """The tensors that depend on extents and constants alone."""
    known = {*outer, "", *(t.name for t in graph.initializer)}
    for node in graph.node:
        if node.op_type in ("Shape", "Size") or (
            not any(a.HasField("g") for a in node.attribute) and known.issuperset(node.input)
        ):
            known.update(node.output)
    return known


def _copies(graph: Any, known: set[str]) -> list[tuple[str, str, bool]]:
    found = []
    for node in graph.node:
        if node.op_type.startswith("Memcpy"):
            found.append((node.op_type, node.input[0], node.input[0] in known))
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found += _copies(attribute.g, _of_extents(attribute.g, frozenset(known)))
    return found


if __name__ == "__main__":
    answer, mode, *models = sys.argv[1:]
    Path(answer).write_text(json.dumps({path: _place(path, mode == "optimized") for path in models}))
