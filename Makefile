# `make demo` and `make test` set everything up on a fresh clone: a virtual environment in .venv, pinned by constraints.txt.
# To use an environment of your own: make test PYTHON=python VENV=

VENV ?= .venv
BASE_PYTHON ?= python3
PYTHON ?= $(VENV)/bin/python
READY = $(if $(VENV),$(VENV)/.ready)

.PHONY: demo test check lint wheel docs tables fresh speed gpu clean

demo: $(READY)  ## one page, demo/index.html: the packaged models at work on generated clips; about a minute
	$(PYTHON) -m zoo demo --out demo

test: $(READY)  ## the default tests: at most 6 minutes on two cores
	$(PYTHON) -m pytest

check: $(READY) lint wheel  ## lint, the default and the slow tests, a wheel in a fresh environment
	$(PYTHON) -m pytest -m "slow or not slow"
	ZOO_KERNELS=0 $(PYTHON) -m pytest tests/test_contract.py tests/models  # on plain PyTorch, as on a GPU

lint: $(READY)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

wheel: $(READY)  ## build the wheel, install it in a fresh environment, use it from another folder
	PYTHON=$(PYTHON) .ci/wheel

docs: $(READY)  ## build the documentation into build/site, and run every tutorial
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict --quiet
	$(PYTHON) -m pytest -m slow tests/docs

fresh:  ## what a newcomer gets: clone into an empty folder, new environment, make demo, make test; prints wall times
	.ci/fresh

tables: $(READY)  ## update the tables in README, model cards and result pages from benchmarks/results
	$(PYTHON) -m zoo bench table $$(grep -l "<!-- zoo bench table" README.md recipes/*/README.md benchmarks/results/*.md)
	$(PYTHON) benchmarks/speed/summary.py
	for model in zoo/assets/*; do $(PYTHON) -m zoo bench card $$model $(wildcard benchmarks/results/mini-*.json benchmarks/results/real-*.json) || exit 1; done

speed: $(READY)  ## side by side with transformers and torchaudio; needs ZOO_DATA and a quiet machine
	$(PYTHON) benchmarks/speed/embed.py

gpu:  ## everything on one GPU, in at most 8 minutes, into benchmarks/results/gpu-DATE; without set-up: .venv if there is one
	$$(command -v $(PYTHON) || command -v python3) -m benchmarks.gpu.run

$(VENV)/.ready: pyproject.toml constraints.txt
	$(BASE_PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
