"""Types and shapes of what a node returns, stated only where they hold in every run."""

from onnxplain.ir.inference.applied import Applied
from onnxplain.ir.inference.contents import contents
from onnxplain.ir.inference.infer import infer

__all__ = ["Applied", "contents", "infer"]
