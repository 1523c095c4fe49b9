# make demo: try the supplied languages, learn another. make test, make lint: what a change
# must pass.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
STAMP := .venv/.installed
SOUND := libportaudio2 pulseaudio pulseaudio-utils libasound2-plugins

.DELETE_ON_ERROR:
.PHONY: help install demo test lint bench sound clean

help:
	@echo "make install   an environment in .venv, with the exact versions of constraints.txt"
	@echo "make demo      hear three languages, learn a fourth from text, hear it too: a minute"
	@echo "make test      all tests and doctests"
	@echo "make lint      ruff and mypy --strict"
	@echo "make bench     write docs/results.md anew from the records in docs/records"
	@echo "make clean     remove .venv, caches and runs/demo"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt $(wildcard */*.c */*.h)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found;" \
		"install it, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "installing into .venv with $(PYTHON): about 6 GB, a few minutes the first time"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input \
		-c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)
	@$(BIN)/kws demo --out runs/demo

test: $(STAMP) sound
	@$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	@$(BIN)/kws bench report

# A microphone is only needed to listen; without these the tests of the real one are skipped.
sound:
	@command -v dpkg >/dev/null || exit 0; missing=$$(for p in $(SOUND); do \
		dpkg -s $$p >/dev/null 2>&1 || printf ' %s' $$p; done); \
	test -z "$$missing" || echo "the microphone tests will be skipped; what they need:" \
		"sudo apt-get install$$missing"

clean:
	rm -rf .venv runs/demo .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find apps audio_data benchmarks kws models policy tests -name __pycache__ -prune -exec rm -rf {} +
