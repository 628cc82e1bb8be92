# Every target works from a fresh clone: it makes .venv and installs what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# ONNX Runtime for this machine: `gpu` where an NVIDIA GPU answers, `cpu` elsewhere. Override
# with `make ORT=cpu ...`. Never both: installed together they leave a CPU-only module.
ORT ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)

# PyTorch is installed first and by itself, so that nothing else decides which build it is. A
# CPU build that pip finds by itself (a local wheel, a configured index) is preferred by its
# version; otherwise name PyTorch's index of CPU builds:
#   make export TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

MODELS ?= models
PACKAGES := voxport.graphs voxport.export voxport.runtime
SOURCES := graphs export runtime tests benchmarks docs

.DEFAULT_GOAL := help
.PHONY: help export verify verify-mac test fuzz demo diarize bench-export bench-diarize bench-precision bench-mel bench-scale bench-highlights pictures lint format typecheck check clean distclean

help:
	@echo "make export       real checkpoints -> verified artifacts (ONNX, Core ML) in $(MODELS)/"
	@echo "make verify       repeat all checks on the artifacts in $(MODELS)/"
	@echo "make verify-mac   on a Mac: verify, then run the Core ML packages through Apple's runtime"
	@echo "make demo         who is active when in a 30 s recording"
	@echo "make diarize      who spoke when in it, and the diarization error rate"
	@echo "make test         the test suite"
	@echo "make fuzz         10,000 broken inputs: audio, manifests, metadata"
	@echo "make bench-export time of each export, and PyTorch against ONNX Runtime"
	@echo "make bench-diarize  voxport against its peers: DER, speed, memory (an hour; BENCH=... for options)"
	@echo "make bench-precision  what each precision and format costs in DER"
	@echo "make bench-mel    mel matrices against librosa, on one and two cores"
	@echo "make bench-highlights  highlights of three hours against NumPy and SciPy"
	@echo "make pictures     the README's pictures"
	@echo "make bench-scale  corpora: processes and Ray against the plain loop (half an hour)"
	@echo "make check        lint and typecheck"
	@echo "make clean        remove artifacts and caches; distclean: .venv too"

# One stamp per set of extras; a changed pyproject.toml or another ORT installs again.
STAMP = $(VENV)/.stamp-$(1)-$(ORT)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(call STAMP,torch): $(VENV)/bin/python
	rm -f $(VENV)/.stamp-*
	$(PIP) install $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) '$(TORCH)'
	@touch $@

$(call STAMP,export): $(call STAMP,torch) pyproject.toml
	$(PIP) uninstall -y $(if $(filter gpu,$(ORT)),onnxruntime,onnxruntime-gpu)
	$(PIP) install -e '.[export,$(ORT)]'
	@touch $@

$(call STAMP,test): $(call STAMP,export)
	$(PIP) install -e '.[export,$(ORT),test]'
	@touch $@

$(call STAMP,dev): $(call STAMP,test)
	$(PIP) install -e '.[export,$(ORT),test,dev]'
	@touch $@

export: $(call STAMP,export)
	$(BIN)/voxport export -o $(MODELS)

verify: $(MODELS)/manifest.json
	$(BIN)/voxport verify $(MODELS)

# Its prerequisites are a Mac's only, so that elsewhere it says so before it installs anything.
verify-mac: $(if $(filter Darwin,$(shell uname -s)),$(MODELS)/manifest.json)
	@test "$$(uname -s)" = Darwin || { \
		echo "make verify-mac needs a Mac: Core ML runs on macOS only." >&2; \
		echo "'make verify' checks the same packages here, with voxport's own evaluator." >&2; \
		exit 1; }
	$(BIN)/voxport verify $(MODELS)
	$(BIN)/voxport check-coreml $(MODELS)

$(MODELS)/manifest.json: | $(call STAMP,export)
	$(BIN)/voxport export -o $(MODELS)

test: $(call STAMP,test)
	$(BIN)/python -m pytest

fuzz: $(call STAMP,test)
	VOXPORT_FUZZ_INPUTS=10000 $(BIN)/python -m pytest tests/fuzz

demo: $(MODELS)/manifest.json
	$(BIN)/voxport demo --models $(MODELS) "$$($(BIN)/voxport fetch sample.wav)"

# For people, then against its reference.
diarize: $(MODELS)/manifest.json
	$(BIN)/voxport diarize --models $(MODELS) -o build/diarize --format txt,rttm \
		"$$($(BIN)/voxport fetch sample.wav)"
	@cat build/diarize/sample.txt
	$(BIN)/voxport score "$$($(BIN)/voxport fetch sample.rttm)" build/diarize/sample.rttm

bench-export: $(call STAMP,export)
	$(BIN)/python benchmarks/bench_export.py

# Peers in environments of their own under build/bench. Options: make bench-diarize BENCH=--hour
BENCH ?=
bench-diarize: $(MODELS)/manifest.json
	TORCH='$(TORCH)' TORCH_INDEX='$(TORCH_INDEX)' \
		$(BIN)/python benchmarks/bench_diarize.py --models $(MODELS) $(BENCH)

bench-precision: $(MODELS)/manifest.json
	$(BIN)/python benchmarks/bench_precision.py --models $(MODELS) $(BENCH)

# librosa, which it compares with, comes with the tests.
bench-mel: $(MODELS)/manifest.json $(call STAMP,test)
	$(BIN)/python benchmarks/bench_mel.py --models $(MODELS) $(BENCH)

bench-highlights: $(MODELS)/manifest.json
	$(BIN)/python benchmarks/bench_highlights.py --models $(MODELS) $(BENCH)

pictures: $(MODELS)/manifest.json
	$(BIN)/python docs/pictures/make_pictures.py --models $(MODELS) "$$($(BIN)/voxport fetch sample.wav)"

# Ray comes with the tests.
bench-scale: $(MODELS)/manifest.json $(call STAMP,test)
	$(BIN)/python benchmarks/bench_scale.py --models $(MODELS) $(BENCH)

lint: $(call STAMP,dev)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

format: $(call STAMP,dev)
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

# On an installed copy: checkers do not follow the folder mapping of an editable install.
typecheck: $(call STAMP,dev)
	rm -rf build/typecheck
	$(PIP) install --no-deps --target build/typecheck .
	MYPYPATH=build/typecheck $(BIN)/mypy --namespace-packages --explicit-package-bases \
		$(foreach package,$(PACKAGES),-p $(package))

check: lint typecheck

# The repository's own models/ only, whatever MODELS says.
clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find graphs export runtime tests benchmarks -name __pycache__ -type d -exec rm -rf {} +
	find models -mindepth 1 ! -name README.md -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
