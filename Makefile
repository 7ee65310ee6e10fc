# make run    installs, gets MNIST, trains a small neural network in seconds, tests it, says what to type next
# make test   installs what the tests need, runs them all
# make faults gives every reader and option damaged input, and counts how it ends (tests/faults/README.md)
# make bench  measures the toolkit against what people use instead; half an hour (bench/RESULTS.md)
# make lint   style, format and types
# make clean  removes what make made; keeps trained/, runs/, data/ and captured/
#
# Settings:   make run PYTHON=python3.12           the interpreter to start from, 3.10 or newer
#             make run VENV=/path/to/environment   where to install; one that exists is used as it is
#             make run INSTALL="uv pip install --python .venv --torch-backend cpu"
#                                                  the CPU-only build of PyTorch

VENV ?= .venv
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$python && break; done)
INSTALL ?= $(VENV)/bin/python -m pip install
IN_VENV := $(VENV)/bin/python

.PHONY: help run test faults bench lint clean
help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

run: $(VENV)/.installed
	@status=0; $(IN_VENV) -m toolkit.datasets || status=$$?; \
	case $$status in \
	  0) data=mnist ;; \
	  2) data=digits; echo "MNIST cannot be reached: taking the bundled digits instead." ;; \
	  *) exit $$status ;; \
	esac; set -ex; \
	$(IN_VENV) train_ann.py --fast --drawings pendigits --dataset $$data --output trained/ann-quick.safetensors; \
	$(IN_VENV) test_ann.py --model trained/ann-quick.safetensors --dataset $$data; \
	$(IN_VENV) test_ann.py --model trained/ann-quick.safetensors --drawn pendigits --quiet; \
	{ set +x; } 2>/dev/null; \
	echo; echo "Now draw:                            $(IN_VENV) predict.py"; \
	echo "The best recipe, a matter of minutes: $(IN_VENV) train_ann.py --augment --drawings pendigits"

# A virtual screen keeps the tests' windows away from the user's, and the user's mouse away from them.
test: $(VENV)/.installed-dev $(VENV)/.system
	@if command -v xvfb-run >/dev/null && command -v xauth >/dev/null; then \
	  set -x; xvfb-run -a -s "-screen 0 1366x768x24" $(IN_VENV) -m pytest -n auto --dist loadgroup; \
	else \
	  [ -n "$$DISPLAY" ] || echo "No screen and no Xvfb: the tests that open a window are skipped."; \
	  set -x; $(IN_VENV) -m pytest -n auto --dist loadgroup; \
	fi

faults: $(VENV)/.installed-dev
	$(IN_VENV) tests/faults/run.py

bench: $(VENV)/.installed
	$(IN_VENV) bench/run.py

lint: $(VENV)/.installed-dev
	$(IN_VENV) -m ruff check .
	$(IN_VENV) -m ruff format --check .
	$(IN_VENV) -m mypy $(wildcard *.py) toolkit experiments

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: nothing is installed again until its list changes.
$(VENV)/.made:
	@if $(IN_VENV) -m pip --version >/dev/null 2>&1; then touch $@; exit; fi; \
	if [ -z "$(PYTHON)" ]; then \
	  echo "Python 3.10 or newer is needed, and none was found; name one: make PYTHON=/path/to/python3" >&2; \
	  exit 1; \
	fi; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "$(PYTHON) is no Python 3.10 or newer." >&2; exit 1; }; \
	echo "Making $(VENV) with $$($(PYTHON) --version)"; \
	$(PYTHON) -m venv $(VENV) || { \
	  echo "$(PYTHON) cannot make an environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	touch $@

$(VENV)/.installed: $(VENV)/.made requirements.txt
	$(INSTALL) -r requirements.txt
	@$(IN_VENV) -c 'import tkinter' 2>/dev/null || \
	  echo "This Python has no tkinter, which predict.py draws in; on Debian and Ubuntu: apt install python3-tk"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(INSTALL) -r requirements-dev.txt
	@touch $@

# Programs that some tests need. If they cannot be installed, those tests are skipped and say so.
$(VENV)/.system: $(VENV)/.made
	@missing=""; \
	{ command -v xvfb-run && command -v xauth; } >/dev/null || missing="xvfb xauth"; \
	{ command -v initdb || ls /usr/lib/postgresql/*/bin/initdb; } >/dev/null 2>&1 || missing="$$missing postgresql"; \
	$(IN_VENV) -c 'import tkinter' 2>/dev/null || missing="$$missing python3-tk"; \
	for name in chromium-headless-shell chromium chromium-browser google-chrome; do \
	  command -v $$name; \
	done | grep -q . || missing="$$missing chromium-headless-shell"; \
	if [ -z "$$missing" ]; then \
	  :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  export DEBIAN_FRONTEND=noninteractive; set -x; \
	  apt-get update -q; \
	  for package in $$missing; do \
	    apt-get install -q -y --no-install-recommends $$package || \
	      echo "Could not install $$package: the tests that need it are skipped."; \
	  done; \
	else \
	  echo "Missing for some tests, which are skipped: $$missing"; exit; \
	fi; \
	touch $@
