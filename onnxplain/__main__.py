"""`python -m onnxplain`: the command line."""

from onnxplain.cli import main

main(prog_name="onnxplain")
