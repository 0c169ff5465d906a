# `make` lists every target.
PYTHON ?= python3
BIN := .venv/bin
# A file is one worker's, in order, and each worker that needs a studio has one of its own.
PARALLEL := -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder
.DEFAULT_GOAL := help
.PHONY: help demo compare docs test check format proto page unit faults fuzz audit bench soak install pictures clean images rehearsal

help: ## List the targets.
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

demo: ## Run everything: the studio and a training run on real data. Ctrl-C stops it.
	@$(PYTHON) tools/bootstrap.py demo
	@$(BIN)/python tools/build_page.py
	@exec $(BIN)/weightslab demo $(ARGS)

test: check ## Check the code and run all tests, with real servers and a real browser.
	@$(BIN)/python tools/build_page.py test
	@$(BIN)/python tools/build_page.py
	@$(BIN)/python tools/chromium.py
	@$(BIN)/pytest tests/unit $(PARALLEL)
	@$(BIN)/pytest --ignore=tests/unit $(PARALLEL)

check: install ## Format, lint, types, import boundaries, generated code: about a minute.
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports --no-cache > .import-linter.log || (cat .import-linter.log; exit 1)
	@rm -f .import-linter.log
	@$(BIN)/mypy services tools tests bench
	@$(BIN)/python tools/build_page.py check
	@$(BIN)/python tools/generate_proto.py --check --web
	@$(BIN)/python tools/generate_api_reference.py --check

unit: install ## Only the unit tests.
	@$(BIN)/pytest tests/unit $(PARALLEL)

format: install ## Format the code and mend what the linter can.
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

proto: install ## Generate code and the API reference from proto/.
	@$(BIN)/python tools/build_page.py install
	@$(BIN)/python tools/generate_proto.py --web
	@$(BIN)/python tools/generate_api_reference.py

page: install ## Build the page.
	@$(BIN)/python tools/build_page.py

faults: install ## Every fault on every process, random SIGKILLs, and long runs against a model: an hour; SEED repeats one.
	@$(BIN)/pip --disable-pip-version-check install --quiet -c requirements/constraints.txt -e '.[dev,faults]'
	@$(BIN)/python -m tests.faults.matrix $(if $(SEED),--seed $(SEED))
	@$(BIN)/python -m tests.faults.long_machine $(if $(SEED),--seed $(SEED))
	@$(BIN)/python -m tests.faults.kills --kills $(or $(KILLS),200) $(if $(SEED),--seed $(SEED))
	@$(BIN)/python -m tests.faults.kill_points --kills $(or $(KILLS),2000) $(if $(SEED),--seed $(SEED))

fuzz: install ## Attack what reads foreign bytes: SECONDS for each target (60), TARGETS="query bus" for some of them.
	@$(BIN)/pip --disable-pip-version-check install --quiet -c requirements/constraints.txt -e '.[dev,fuzz]'
	@$(BIN)/python -m tests.fuzz.run --seconds $(or $(SECONDS),60) $(TARGETS)

audit: install ## Ask PyPI and npm for known vulnerabilities of what we pin; 2 when one could not be asked.
	@$(BIN)/python -m tools.audit

soak: install ## A day of a gateway in MINUTES (20): viewers come and go, people edit, parts restart.
	@$(BIN)/python bench/soak/gateway.py --minutes $(or $(MINUTES),20)

bench: install ## Run the benches; results are written beside the scripts.
	@for script in bench/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

compare: install ## Compare with other tools under the same work; a quarter of an hour.
	@$(BIN)/python -m bench.compare.run

install: ## Make the environment for development.
	@$(PYTHON) tools/bootstrap.py dev

docs: install ## Make the site of the documentation in .site/.
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs .site && echo "open .site/index.html"

pictures: ## Copy the pictures of the last browser tests into the docs.
	@mkdir -p docs/images && cp tests/e2e/output/*.png docs/images/

clean: ## Remove what was built and installed; data in .weightslab stays.
	@rm -rf .venv services/ui/web/node_modules services/ui/weightslab_ui/page .mypy_cache .ruff_cache .pytest_cache

images: install ## Build the images of all services with buildah, look into them and run them. Needs root.
	@$(BIN)/python tools/images.py $(ARGS)

.PHONY: manifests
manifests: install ## Make the Helm chart and the golden files from the Kubernetes manifests.
	@$(BIN)/python tools/make_chart.py

rehearsal: install ## Rehearse a rollout of a whole cluster on this machine, for some minutes.
	@$(BIN)/python bench/rehearsal.py
