# Each target installs what it needs; nothing but python3 is assumed.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install demo test test-all lint bench docs study report

install: $(STAMP)

$(STAMP): setup.py pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -e '.[test]'
	touch $(STAMP)

demo: install
	$(BIN)/keras-experts demo --workdir demo

# The fast tests; what they leave out is marked `slow` or `parity`.
test: install
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not parity"

test-all: install
	$(BIN)/python -m pip install --quiet -e '.[parity]'
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# A night, as the times in study/study.mk tell; goes on where it was stopped.
study: install
	$(BIN)/python -m pip install --quiet -e '.[plot]'
	$(MAKE) -f study/study.mk BIN=$(BIN)

# The tables and figures of docs/study.md, from what the study has found.
report: install
	$(BIN)/python -m pip install --quiet -e '.[plot]'
	$(BIN)/python -m study.report

# NO_MKDOCS_2_WARNING: a notice of the theme about other tools.
docs: install
	$(BIN)/python -m pip install --quiet -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: install
	$(BIN)/python -m pip install --quiet -e '.[bench]'
	$(BIN)/python benchmarks/start_up.py
	$(BIN)/python benchmarks/neighbors.py
	$(BIN)/python benchmarks/selection.py
	$(BIN)/python benchmarks/statistics_of_results.py
	$(BIN)/python benchmarks/cost_of_selection.py
	$(BIN)/python benchmarks/mixed_kernels.py
	$(BIN)/python benchmarks/training_steps.py --groups 4 16 64
	$(BIN)/python benchmarks/mixed_training.py
	$(BIN)/python benchmarks/training_steps.py --preset r50x1 \
	  --image_size 224 --batch_size 8 --groups 8 --repeats 4
	$(BIN)/python benchmarks/bank_memory.py
	$(BIN)/python benchmarks/bank_module.py --compile
	$(BIN)/python benchmarks/host.py
	$(BIN)/python benchmarks/module_memory.py
	$(BIN)/python -m pip install --quiet -e '.[parity]'
	$(BIN)/python benchmarks/embedding.py
