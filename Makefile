# Everything here needs only Python 3.11 or newer, make and git; each target makes the environment it needs.
.DEFAULT_GOAL := help
.PHONY: help book slides pdf a11y test bench bench-compare lint format notebook serve links clean clean-envs

# PYTHON=python3.12 on the command line picks another one.
PYTHON ?=
SUITABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
CANDIDATES := $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.14 python)
FIND_PYTHON := for python in $(CANDIDATES); do \
	  if "$$python" -c '$(SUITABLE)' >/dev/null 2>&1; then break; else python=; fi; done; \
	if [ -z "$$python" ]; then echo "No Python 3.11 or newer with the module venv found; looked for: $(CANDIDATES)." \
	  "Install one (Debian: apt-get install python3 python3-venv), or name yours: make PYTHON=/path/to/python ..." >&2; exit 1; fi

# STUDENT=1 on the command line leaves every solution out, and builds into a folder of its own.
STUDENT ?=
# LANGUAGE=zh_CN builds that edition only; without it all editions are built, but not for students.
# The environment's LANGUAGE is gettext's and means something else.
EDITION := $(if $(findstring command line,$(origin LANGUAGE)),$(LANGUAGE))
OUT := $(if $(STUDENT),book/_student,book)
BOOK := $(OUT)/_build/html/index.html
PORT ?= 8000
PYTEST_ARGS ?=
# Processes that share the tests; 0 runs them in one, where -s and --pdb work.
WORKERS ?= auto

help: ## list the targets
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z-]*\):.*## /  \1|/p' Makefile | awk -F'|' '{ printf "%-13s %s\n", $$1, $$2 }'

book: .venv-book ## run the notebooks and render the book (STUDENT=1: without solutions; LANGUAGE=zh_CN: that edition)
	@.venv-book/bin/python -c 'import importlib.util as u, sys; \
	  sys.exit("torch is importable in .venv-book, but the book must build without it: make clean-envs book" if u.find_spec("torch") else 0)'
	@.venv-book/bin/python -m tts_utils.cli verify # no figure is drawn from a damaged table
	@.venv-book/bin/python book/execute.py
	$(if $(EDITION),,$(if $(STUDENT),TTS_STUDENT=1) .venv-book/bin/jupyter-book build . --config book/_config.yml --toc book/_toc.yml \
	  --path-output $(OUT) --all -W -n --keep-going)
	$(if $(STUDENT),,.venv-book/bin/python book/languages.py $(EDITION))
	@echo "The book lies in $(BOOK). Look at it with: make serve (or open that file in a browser)."

slides: .venv-book ## write the slides of one lecture from the built book
	.venv-book/bin/python book/slides.py

pdf: .venv-book ## write the whole book as one PDF (needs Chromium)
	.venv-book/bin/python book/pdf.py

a11y: ## try the built book in Chromium: axe-core, every control of every chart (needs Node 20, npm, Chromium)
	@command -v npm >/dev/null || { echo "npm is not here; Debian: apt-get install nodejs npm chromium" >&2; exit 1; }
	@cd book/browser && { test -d node_modules/axe-core || npm ci --no-audit --no-fund --ignore-scripts; }
	node book/browser/check.mjs $(OUT)/_build/html $(PAGES)
	node book/browser/controls.mjs $(OUT)/_build/html $(PAGES)

test: .venv-test ## run the tests on all cores (PYTEST_ARGS="-m slow" for the long ones)
	OMP_NUM_THREADS=1 .venv-test/bin/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

bench: .venv-test ## measure speed against baselines on this machine, into benchmarks/results.md (11 minutes)
	.venv-test/bin/python -m benchmarks

bench-compare: .venv-test ## this build against an earlier one, results compared too (REV=abc1234)
	@test -n "$(REV)" || { echo "Which commit? make bench-compare REV=abc1234" >&2; exit 1; }
	.venv-test/bin/python -m benchmarks.compare $(REV)

lint: .venv-lint ## check style, format and types of code and notebooks, notebook hygiene, typed results, links
	.venv-lint/bin/ruff check .
	.venv-lint/bin/ruff format --check .
	.venv-lint/bin/mypy
	.venv-lint/bin/python book/notebooks.py
	.venv-lint/bin/python book/typed_numbers.py
	.venv-lint/bin/python book/links.py --check

format: .venv-lint ## put code and notebooks into the house format
	.venv-lint/bin/ruff check --fix .
	.venv-lint/bin/ruff format .
	.venv-lint/bin/python book/notebooks.py --fix

notebook: .venv-book ## open the lessons in JupyterLab
	cd notebooks && ../.venv-book/bin/jupyter lab

serve: ## show the built book on http://localhost:8000 (PORT=8001 for another)
	@test -f $(BOOK) || { echo "There is no book yet: make book" >&2; exit 1; }
	@echo "http://localhost:$(PORT)  (stop with Ctrl-C)"
	@$(FIND_PYTHON); "$$python" -m http.server $(PORT) --bind 127.0.0.1 --directory book/_build/html

links: .venv-lint ## copy the public address in pyproject.toml into badges and setup cells
	.venv-lint/bin/python book/links.py --write

clean: ## remove the built book and caches, keep the environments
	rm -rf book/_build build .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

clean-envs: ## remove the environments
	rm -rf .venv-book .venv-test .venv-lint

# Environments: .ci/venv.py returns at once when the stamp in the folder matches the requirements.
.PHONY: .venv-book .venv-test .venv-lint
.venv-book:
	@$(FIND_PYTHON); "$$python" .ci/venv.py $@ requirements.txt
.venv-test:
	@$(FIND_PYTHON); "$$python" .ci/venv.py $@ requirements-lab.txt
.venv-lint:
	@$(FIND_PYTHON); "$$python" .ci/venv.py $@ requirements-lint.txt --no-package
