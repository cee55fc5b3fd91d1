# Set-up, tests and the flow. `make help` tells what there is.
PYTHON ?= python3
VENV   ?= .venv
MODEL  ?= econ_t
BACKEND ?= open
PART   ?=
POINT  ?= models/$(MODEL)/point.toml
STUDY  ?= models/$(MODEL)/study.toml
LAUNCHER ?= $(HLSCAPE_LAUNCHER)
JOBS   ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
SET    ?=
DOCKERCHECK ?= /var/tmp/hlscape-dockercheck

READY := $(VENV)/.ready
EXTRAS := jets
MODEL_READY := $(READY) $(patsubst %,$(VENV)/.ready-%,$(filter $(EXTRAS),$(MODEL)))
# Words for the vendor tools: docker, docker:IMAGE, "srun -c 4 --mem 32G"; see flow/core/launcher.py.
export HLSCAPE_LAUNCHER := $(LAUNCHER)
OPTIONS = --set hardware.backend=$(BACKEND) $(if $(PART),--set hardware.part=$(PART)) $(SET)
RUN    = $(VENV)/bin/hlscape run $(POINT) $(OPTIONS)
STAGES := data pretrain train export convert csim rtl rtlsim netsim route csynth vsynth landscape robustness

.PHONY: help setup synth demo report matrix test bench lint dockercheck clean $(STAGES)

help:
	@echo 'make synth        the default design point of models/$$MODEL (econ_t) through the whole flow, with its report'
	@echo 'make demo         the study of models/$$MODEL and its Pareto report'
	@echo 'make test         all tests'
	@echo 'make bench        timings against a peer in the same run, on one thread'
	@echo 'make lint         ruff and mypy --strict'
	@echo 'make STAGE        the flow up to a stage: $(STAGES)'
	@echo 'make report       the report of the study from finished results'
	@echo 'make matrix       measures which layers can be deployed bit for bit: docs/layers.md'
	@echo 'make dockercheck  the steps of the Dockerfile, without an engine; needs root, debootstrap and the package indexes'
	@echo 'variables         MODEL=econ_t BACKEND=open PART=lfe5u-85f POINT=file.toml SET="--set network.weight_bits=4" JOBS=2 VENV=.venv PYTHON=python3'
	@echo '                  LAUNCHER=docker, or LAUNCHER="srun -c 4 --mem 32G": where the vendor tools of BACKEND=vitis run'

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo 'Python 3.11 to 3.13 is needed; set PYTHON=...'; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.ready-%: $(READY)
	@echo "MODEL=$* needs the optional packages of the extra '$*' (see models/$*/README.md for their licences); installing them into $(VENV)"
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$*]'
	@touch $@

synth: $(MODEL_READY)
	$(RUN)

$(STAGES): $(MODEL_READY)
	$(RUN) --until $@

demo: $(MODEL_READY)
	$(VENV)/bin/hlscape sweep $(STUDY) -j $(JOBS) $(OPTIONS)

report: $(READY)
	$(VENV)/bin/hlscape report $(STUDY) $(OPTIONS)

matrix: $(READY)
	$(VENV)/bin/hlscape matrix -j $(JOBS)

test: $(READY)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(JOBS) --dist worksteal --cov --cov-report=term:skip-covered --cov-fail-under=85

bench: $(READY)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m benchmarks

lint: $(READY)
	$(VENV)/bin/ruff check flow models benchmarks tests
	$(VENV)/bin/ruff format --check flow models benchmarks tests
	$(VENV)/bin/mypy

dockercheck: $(READY)
	$(VENV)/bin/python -m tests.docker.run_steps $(DOCKERCHECK)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage*
