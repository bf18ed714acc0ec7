# Everything a contributor runs. `make help` lists the targets.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ZOO ?= out/zoo
ZOO_VENV ?= .venv-zoo
ZOO_READY := $(ZOO_VENV)/.ready
BRIDGES_VENV ?= .venv-bridges
BRIDGES_READY := $(BRIDGES_VENV)/.ready
PTQ_ENVS ?= .venv-ptq
NETWORKS := vgg16 resnet50 alexnet mobilenet_v1 mobilenet_v2
PTQ_READY := $(PTQ_ENVS)/.ready
# One thread a process: tests run side by side, and numbers must not depend on the machine.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test lint data ci bench nightly versions zoo zoo-export zoo-prune real-models ptq bridge samples results full-size clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "onnxcompress needs Python >= 3.11; set PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -e '.[dev]'
	@touch $@

# Without their dependencies: those would bring a torchvision that does not fit this torch.
$(ZOO_READY):
	@test -x $(ZOO_VENV)/bin/python || $(PYTHON) -m venv $(ZOO_VENV)
	$(ZOO_VENV)/bin/python -m pip install -q torch==2.13.0 numpy onnx onnxscript transformers requests
	$(ZOO_VENV)/bin/python -m pip install -q --no-deps pytorchcv torch-pruning
	@touch $@

# Without their dependencies, for the same reason.
$(BRIDGES_READY):
	@test -x $(BRIDGES_VENV)/bin/python || $(PYTHON) -m venv $(BRIDGES_VENV)
	$(BRIDGES_VENV)/bin/python -m pip install -q torch==2.13.0 numpy onnx
	$(BRIDGES_VENV)/bin/python -m pip install -q --no-deps onnx2torch onnx2pytorch
	@touch $@

# One environment a tool. modelopt without its GPU packages (cupy, onnxruntime-gpu): it calibrates on the CPU.
$(PTQ_READY):
	for tool in onnxruntime nncf modelopt onnxsim openvino; do $(PYTHON) -m venv $(PTQ_ENVS)/$$tool || exit 1; done
	$(PTQ_ENVS)/onnxruntime/bin/python -m pip install -q onnxruntime onnx sympy
	$(PTQ_ENVS)/nncf/bin/python -m pip install -q nncf onnx onnxruntime
	$(PTQ_ENVS)/onnxsim/bin/python -m pip install -q onnxsim onnxruntime
	$(PTQ_ENVS)/openvino/bin/python -m pip install -q openvino
	$(PTQ_ENVS)/modelopt/bin/python -m pip install -q --no-deps nvidia-modelopt
	$(PTQ_ENVS)/modelopt/bin/python -m pip install -q torch==2.13.0 'onnx~=1.21.0' 'onnxruntime~=1.24.2' \
	  'onnxconverter-common~=1.16.0' onnxslim onnxscript onnx-graphsurgeon polygraphy lief cppimport ml_dtypes ninja \
	  nvidia-ml-py tqdm PyYAML omegaconf 'pulp<4' pydantic regex rich safetensors scipy 'setuptools>=80'
	@touch $@

demo: $(READY) ## Prune, quantize and distill a real model and print what it gained and cost (3 minutes)
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python samples/demo.py

test: $(READY) ## The default tests: no shared data, no network (12 minutes at most)
	$(BIN)/python -m pytest -n auto -m "not data and not ci and not nightly" $(ARGS)

lint: $(READY) ## ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

data: $(READY) ## Tests on real models and data; needs ONNXCOMPRESS_TEST_DATA
	$(BIN)/python -m pytest -m data $(ARGS)

ci: ## What continuous integration runs: lint, types, tests, real data
	.ci/run

bench: $(READY) ## Measure calibration and start-up beside what they are judged by (prints figures, asserts none)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/calibration.py

nightly: $(READY) ## The long tests, and both ends of the versions; with ONNXCOMPRESS_TEST_DATA also the real models
	$(BIN)/python -m pytest -n auto -m nightly $(ARGS)
	$(MAKE) versions
	@if [ -n "$$ONNXCOMPRESS_TEST_DATA" ]; then $(MAKE) real-models; else echo "real-models: no ONNXCOMPRESS_TEST_DATA, not run"; fi

versions: $(READY) ## The default tests with the oldest and newest packages on every Python found
	$(BIN)/python tests/nightly/versions.py

real-models: $(READY) ## The three commands on every model of ONNXCOMPRESS_TEST_DATA, as a table
	$(BIN)/python benchmarks/real_models.py --out docs/results/real_models.md $(ARGS)

zoo: zoo-export zoo-prune ## Export some 150 architectures by torch, prune each at 0.3 and 0.5, write the page (hours)

zoo-export: $(READY) $(ZOO_READY) ## Only the export, into ZOO (out/zoo), from an environment of its own (.venv-zoo)
	PYTHONPATH=tests $(ZOO_VENV)/bin/python benchmarks/zoo/export.py $(ZOO) $(ARGS)
	$(BIN)/python benchmarks/zoo/quantize.py $(ZOO)

zoo-prune: $(READY) ## Only the pruning; what has a good row in the page's .json already is left out
	$(BIN)/python benchmarks/zoo/prune.py $(ZOO) --out docs/results/pruning_zoo.md $(ARGS)

bridge: $(READY) $(BRIDGES_READY) ## The torch form of ZOO and of ONNXCOMPRESS_TEST_DATA, beside other converters' (15 minutes)
	$(BIN)/python benchmarks/bridge.py $(ZOO) $(ONNXCOMPRESS_TEST_DATA)/models
	$(BRIDGES_VENV)/bin/python benchmarks/bridge_peers.py $(ZOO) $(ONNXCOMPRESS_TEST_DATA)/models
	$(BIN)/python benchmarks/bridge.py --out docs/results/bridge.md

ptq: $(READY) $(PTQ_READY) ## Quantization beside its peers on every labelled model, as a page (an hour or more)
	$(BIN)/python benchmarks/ptq.py --envs $(PTQ_ENVS) $(ARGS)

samples: $(READY) ## Make the samples' data and train their models anew (half an hour)
	$(BIN)/python samples/data/make_data.py
	$(BIN)/python samples/models/make_mlp.py
	$(BIN)/python samples/models/make_cnn.py
	for name in $(NETWORKS); do for of in "" --half "--twins 3"; do \
	  $(BIN)/python samples/models/make.py $$name $$of || exit 1; done; done

results: $(READY) ## Every sample's table and plot measured anew, into docs/results/samples (90 minutes at most; goes on where it stopped)
	$(BIN)/python -m samples.results $(ARGS)

full-size: $(READY) ## Every command on full-width VGG16, ResNet50, AlexNet and MobileNet V2: time, memory, speed (an hour; goes on where it stopped)
	$(BIN)/python -m samples.full_size.table $(ARGS)

clean: ## Remove caches and outputs, not the environment
	rm -rf out build dist htmlcov .coverage .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -type d -exec rm -rf {} +
