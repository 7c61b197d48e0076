# The two commands of the README: `make refs` and `make test`. Both create the environments they need.
SHELL := /bin/bash
# A version manager's shim may stand for an interpreter that is not selected, so each candidate must really start.
find_python = $(firstword $(foreach candidate,$(1),$(shell $(candidate) -c 'import sys; print(sys.executable) if sys.version_info[:2] == ($(2)) else None' 2>/dev/null)))
PYTHON311 ?= $(call find_python,python3.11 python3 python $(wildcard $(HOME)/.pyenv/versions/3.11*/bin/python) $(wildcard /opt/python/cp311*/bin/python),3$(comma)11)
PYTHON312 ?= $(call find_python,python3.12 python3 python $(wildcard $(HOME)/.pyenv/versions/3.12*/bin/python) $(wildcard /opt/python/cp312*/bin/python),3$(comma)12)
comma := ,

VENV := .venv
VENV312 := .venv312
# One thread per process: two spinning OpenMP threads on a busy machine can be a hundred times slower.
export OMP_NUM_THREADS := 1

# What must also run inside Isaac Sim 6 (Python 3.12), and with the older numpy: no pinocchio, no torch.
TESTS312 := tests/math tests/rig tests/motion tests/kernels tests/body tests/formats tests/learned tests/render tests/sim tests/ui \
  tests/contracts/test_imports.py

.PHONY: refs test test311 test312 lint peers isaac bench clean
REFS_OUT ?= out/g1_refs
refs: $(VENV)/.ready
	$(VENV)/bin/python scripts/prepare_g1_refs.py output.dir=$(REFS_OUT) replace=true

test: test312 test311

test311: $(VENV)/.ready
	$(VENV)/bin/python -m pytest

test312: $(if $(PYTHON312),$(VENV312)/.ready)
ifneq ($(PYTHON312),)
	$(VENV312)/bin/python -m pytest $(TESTS312)
else
	@echo "No Python 3.12 found: the tests for Isaac Sim's Python 3.12 are left out (set PYTHON312=/path/to/python)."
endif

lint: $(VENV)/.ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright
	$(VENV)/bin/lint-imports

$(VENV)/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON311)" || { echo "Python 3.11 is needed and was not found; set PYTHON311=/path/to/python."; exit 2; }
	$(PYTHON311) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -e ".[retarget,torch,anny,assets,parquet,web,video,train,onnx,dev]" -c constraints.txt
	@touch $@

$(VENV312)/.ready: pyproject.toml constraints-312.txt
	$(PYTHON312) -m venv $(VENV312)
	$(VENV312)/bin/pip install --quiet --disable-pip-version-check -e ".[ui]" hypothesis pytest -c constraints-312.txt
	@touch $@

# Each file peers/NAME.txt is one environment .venv-peers/NAME with other people's packages; the tests that find theirs run.
PEERS := $(filter-out %.nodeps,$(basename $(notdir $(wildcard peers/*.txt))))
peers: $(PEERS:%=.venv-peers/%/.ready)
	@status=0; for name in $(PEERS); do echo "== $$name"; \
	  PYTHONPATH=. .venv-peers/$$name/bin/python -m pytest -m peer tests/peers || { code=$$?; test $$code -eq 5 || status=1; }; done; exit $$status

.SECONDEXPANSION:
.venv-peers/%/.ready: peers/%.txt $$(wildcard peers/$$*.nodeps.txt)
	@test -n "$(PYTHON311)" || { echo "Python 3.11 is needed and was not found; set PYTHON311=/path/to/python."; exit 2; }
	$(PYTHON311) -m venv .venv-peers/$*
	.venv-peers/$*/bin/pip install --quiet --disable-pip-version-check -r $<
	if test -f peers/$*.nodeps.txt; then .venv-peers/$*/bin/pip install --quiet --disable-pip-version-check --no-deps -r peers/$*.nodeps.txt; fi
	@touch $@

# Isaac Lab 3.0 without Kit, from the checkout that ISAACLAB_PATH names; nothing of it is installed or copied.
ISAAC := .venv-isaac
ISAACLAB_PACKAGES := isaaclab isaaclab_newton isaaclab_ovphysx isaaclab_physx isaaclab_assets isaaclab_contrib isaaclab_ov isaaclab_visualizers isaaclab_tasks
ISAACLAB_PYTHONPATH = .:$(subst $(eval) ,:,$(ISAACLAB_PACKAGES:%=$(ISAACLAB_PATH)/source/%))
isaac: $(if $(wildcard $(ISAACLAB_PATH)/source/isaaclab),$(ISAAC)/.ready)
	@test -d "$(ISAACLAB_PATH)/source/isaaclab" || { echo "Set ISAACLAB_PATH to a checkout of Isaac Lab 3.0."; exit 2; }
	PYTHONPATH="$(ISAACLAB_PYTHONPATH)" $(ISAAC)/bin/python -m pytest tests/isaac

$(ISAAC)/.ready: tests/isaac/requirements.txt tests/isaac/requirements.nodeps.txt
	@test -n "$(PYTHON311)" || { echo "Python 3.11 is needed and was not found; set PYTHON311=/path/to/python."; exit 2; }
	$(PYTHON311) -m venv $(ISAAC)
	$(ISAAC)/bin/pip install --quiet --disable-pip-version-check -r tests/isaac/requirements.txt
	$(ISAAC)/bin/pip install --quiet --disable-pip-version-check --no-deps -r tests/isaac/requirements.nodeps.txt
	@touch $@

bench: $(VENV)/.ready
	$(VENV)/bin/python benchmarks/retarget.py
	$(VENV)/bin/python benchmarks/skinning.py

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
