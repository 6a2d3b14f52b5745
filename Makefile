PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: bench test lint clean

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks.run_all --scale tiny --headline --tables dagan_self dagan_cross depth
	$(BIN)/python -m benchmarks.run_all --scale tiny --headline --tables lipflow_1 joint_depth joint_image mcdm_edit

test: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
