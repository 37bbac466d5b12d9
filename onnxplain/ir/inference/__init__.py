"""Types and shapes of what an emitted node returns. What is stated holds in every run; what is not certain is left unknown."""

from onnxplain.ir.inference.applied import Applied
from onnxplain.ir.inference.contents import contents
from onnxplain.ir.inference.infer import infer

__all__ = ["Applied", "contents", "infer"]
