"""A worker of the benchmark: gradients by onnx-ad, which also rewrites the ONNX file, in ONNX Runtime.

`python benchmarks/speed_onnx_ad.py MODEL FOLDER THREADS`; a case is {"tool", "method", "batch"}.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import onnx
import onnx_ad
import onnxruntime as ort

from onnxplain.bench.machine import versions
from onnxplain.bench.serving import Run, serve


def sized(path: Path, batch: int) -> onnx.ModelProto:
    """The model for one batch size, with the shape of every tensor: onnx-ad asks for the extents of convolutions."""
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def main(name: str, folder: str, threads: str) -> None:
    """Serve."""
    with np.load(Path(folder) / f"{name}.npz") as file:
        data = {key: file[key] for key in file.files}

    def make(case: dict[str, Any]) -> Run:
        if "input_ids" in data:
            raise ValueError("onnx-ad differentiates by inputs, and those of this model are tokens")
        size = case["batch"]
        model = onnx_ad.reverse(sized(Path(folder) / f"{name}.onnx", size), layout="onnx")
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(threads)
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        del model
        seed = np.zeros((size, session.get_outputs()[0].shape[1], 1), np.float32)
        seed[np.arange(size), data["target"][:size]] = 1
        feeds = {"image": data["image"][:size], "adj_logits": seed}
        return lambda: {"attribution": session.run(None, feeds)[-1][..., 0]}

    serve(make, versions=versions("onnx-ad", "onnxruntime-gpu", "onnxruntime"))


if __name__ == "__main__":
    main(*sys.argv[1:])
