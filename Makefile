# make demo   set everything up and explain real digits: pictures and a page in out/
# make demo-web   a page that explains a digit as you draw it; prints its address
# make test   set everything up and run lint, types and tests
# make fuzz   mutants of models, inputs, metadata and journals for an hour
# make reliability  half an hour of them, counted in docs/reliability.md
# make hosts  only the tests of explained models in C++, Node and the browser
# make slow   the long sweeps, left out of `make test`
# make studies  run the studies again: tables and figures in docs/
# make comparison  every method on every metric on three models, minutes: docs/comparison.md
# make docs   the documentation site in out/site, strict: no broken link, every public name present
# make clean  remove everything that was made

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WEB := examples/web
PORT ?= 8000

.PHONY: demo demo-web studies comparison test fuzz reliability hosts lint slow docs clean

demo: $(VENV)/demo.stamp
	$(BIN)/python fixtures/demo.py

demo-web: $(VENV)/demo.stamp $(WEB)/node_modules/.package-lock.json
	$(BIN)/python $(WEB)/build.py out/web
	@echo "open http://localhost:$(PORT) (Ctrl-C stops)"
	@$(BIN)/python -m http.server --directory out/web $(PORT) > /dev/null 2>&1

studies: $(VENV)/demo.stamp
	$(BIN)/python examples/sinusoid/study.py
	$(BIN)/python examples/risk/study.py
	$(BIN)/python examples/arm/study.py
	$(BIN)/python examples/toy/study.py
	$(BIN)/python examples/tutorial/study.py

comparison: $(VENV)/demo.stamp
	mkdir -p out/comparison
	$(BIN)/python examples/comparison/study.py out/comparison

test: lint
	$(BIN)/pytest -m "not slow" -n 2

fuzz: $(VENV)/test.stamp
	$(BIN)/python -m tests.fuzz --seconds 3600 --first $$(date +%s) --json out/fuzz.json

reliability: $(VENV)/test.stamp
	$(BIN)/python -m tests.fuzz --seconds 1800 --page docs/reliability.md

hosts: $(VENV)/test.stamp
	$(BIN)/pytest -m "cpp or node or browser" -n 2

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

slow: $(VENV)/test.stamp
	$(BIN)/pytest -m slow -n 2

docs: $(VENV)/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(VENV)/docs.stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[all,docs]"
	touch $@

$(VENV)/demo.stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[all]"
	touch $@

$(VENV)/test.stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@

$(WEB)/node_modules/.package-lock.json: $(WEB)/package-lock.json
	cd $(WEB) && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

clean:
	rm -rf $(VENV) $(WEB)/node_modules out build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
