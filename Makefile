# make demo   set everything up and explain real digits: pictures and a page in out/
# make test   set everything up and run lint, types and tests
# make slow   the long sweeps, left out of `make test`
# make clean  remove everything that was made

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint slow clean

demo: $(VENV)/demo.stamp
	$(BIN)/python fixtures/demo.py

test: lint
	$(BIN)/pytest -m "not slow" -n 2

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

slow: $(VENV)/test.stamp
	$(BIN)/pytest -m slow -n 2

$(VENV)/demo.stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[all]"
	touch $@

$(VENV)/test.stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@

clean:
	rm -rf $(VENV) out build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
