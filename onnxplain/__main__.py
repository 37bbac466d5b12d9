"""`python -m onnxplain`: the command line."""

from onnxplain.cli.main import main

main(prog_name="onnxplain")
