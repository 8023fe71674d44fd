# make app    sets everything up in .venv and opens the dashboard
# make test   runs every test        make lint   checks style, types and who imports whom
#
# Needs git, Python 3.11 or newer, a C compiler and make. To choose another Python:
# make app PYTHON=python3.13. To choose where PyTorch comes from (its own index has smaller builds
# without CUDA): make app TORCH_INDEX=https://download.pytorch.org/whl/cpu

ifndef PYTHON
PYTHON := $(firstword $(foreach v,3 3.14 3.13 3.12 3.11,$(shell python$(v) -c \
  'import sys; sys.version_info >= (3, 11) and print("python$(v)")' 2>/dev/null)))
endif
VENV ?= .venv
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
WORKERS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# What an installation is made of besides Python files, which are used where they lie.
SOURCES := pyproject.toml $(shell find kernels -type f -not -path '*/build/*')

.PHONY: app test lint clean
.DELETE_ON_ERROR:

app: $(VENV)/installed
	$(BIN)/bnnlab serve

test: $(VENV)/installed-test $(VENV)/browser
	BNNLAB_REQUIRE_KERNELS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -q

lint: $(VENV)/installed-lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build

$(VENV)/torch:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found; name one: make app PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Setting up $(VENV): this downloads some hundred megabytes, once."
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) '$(TORCH)'
	@touch $@

$(VENV)/installed: $(VENV)/torch $(SOURCES)
	$(PIP) --editable .
	@touch $@

$(VENV)/installed-test: $(VENV)/torch $(SOURCES)
	$(PIP) --editable '.[test]'
	@touch $(VENV)/installed $@

$(VENV)/installed-lint: $(VENV)/torch $(SOURCES)
	$(PIP) --editable '.[test,lint]'
	@touch $(VENV)/installed $(VENV)/installed-test $@

# The browser tests need a Chromium: the system's, or the one Playwright downloads.
$(VENV)/browser: | $(VENV)/installed-test
	@if command -v chromium || command -v chromium-browser || command -v google-chrome; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && apt-get install -y -qq chromium; \
	elif sudo -n true 2>/dev/null && command -v apt-get >/dev/null; then \
	  sudo -n apt-get update -qq && sudo -n apt-get install -y -qq chromium; \
	else $(BIN)/playwright install chromium; fi
	@touch $@
