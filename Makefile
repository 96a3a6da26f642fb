# One virtual environment for everything, with the versions that requirements-dev.txt locks.
PYTHON ?= python3
BIN := .venv/bin

help:
	@echo 'make demo   sets up, runs example tasks in a real worker, checks them, and shows the mails'
	@echo 'make run    serves the site and a worker in the foreground; PORT=8000'
	@echo 'make test   sets up, and runs lint, types, migrations in step and all tests'
	@echo 'make faults kills workers, breaks mail servers and counts what arrives; 10 to 15 minutes'
	@echo 'make outages stops queue and database for up to a minute, sets the clock, and counts what was lost and late; 5 minutes'
	@echo 'make upgrade takes a million runs from the oldest schema to the newest and back, and lets two versions meet; 5 minutes'
	@echo 'make soak   keeps a site busy, an hour of rounds a minute, and says whether anything grows; MINUTES=30'
	@echo 'make fuzz   sends 20,000 odd requests without an account to each database's site, on both databases; a minute'
	@echo 'make screenshots-mail   draws the pictures of docs/mails.md'
	@echo 'make screenshots-pages  draws those of docs/pages.md, of a site on which something is broken and of a quiet one'
	@echo 'make lint   only lint, types and migrations in step'
	@echo 'make test-django6   all tests under Django 6.1, with a Python 3.12 or newer'
	@echo 'make bench-recording   measures what recording costs and loses, about half an hour'
	@echo 'make bench-scale   rounds, pages, back-tests, mails and pruning with 10,000 monitors over 10,000,000 runs: half an hour or more'
	@echo 'make lock   locks the newest versions that pyproject.toml allows'

demo: .venv/ready .env
	@$(BIN)/python manage.py demo

# As the Procfile says, but without a line for each request: these would push the address out of sight.
PORT ?= 8000
run: .venv/ready .env
	@$(BIN)/python manage.py migrate --verbosity 0
	@echo 'http://127.0.0.1:$(PORT)/ - after `make demo` log in as admin, password admin;'
	@echo 'or make an account: $(BIN)/python manage.py createsuperuser'
	@trap : INT; export PATH="$(CURDIR)/$(BIN):$$PATH" SITE_URL='http://127.0.0.1:$(PORT)' ALLOWED_HOSTS=127.0.0.1,localhost; \
	sed 's/ --access-logfile -//' Procfile | GUNICORN_CMD_ARGS='--bind=127.0.0.1:$(PORT)' honcho -f /dev/stdin start || \
	test $$? -eq 130 || { echo 'If port $(PORT) is taken, choose another: make run PORT=8001'; exit 1; }

# Each process of the tests has its own database and servers, and a file's tests stay together. Many wait for what they
# started, so that four are quicker on two cores too.
SIDE_BY_SIDE := --numprocesses=4 --dist=loadfile
# Not twice: what asks no database, starts projects that have their own, or is about what a browser makes of the pages.
ONCE := tests/project tests/foreign tests/browser tests/values

test: lint services
	$(BIN)/pytest $(SIDE_BY_SIDE)
	TEST_WITH=servers $(BIN)/pytest $(SIDE_BY_SIDE) $(ONCE:%=--ignore=%)

# Real processes, signals and servers; docs/reliability.md shows what came of it.
faults: services
	$(BIN)/python -m tests.faults

# What anybody may ask of the site without an account; docs/security.md shows what came of it.
REQUESTS ?= 20000
SEED ?= 1
fuzz: services
	$(BIN)/python -m tests.security.fuzz --requests $(REQUESTS) --seed $(SEED)
	$(BIN)/python -m tests.security.fuzz --requests $(REQUESTS) --seed $(SEED) --database postgres

# All at once, in real time.
outages: services
	$(BIN)/python -m tests.outages

# From the oldest tables to the newest and back, then the code before the newest migration beside this one.
upgrade: services
	$(BIN)/python -m tests.upgrade

# Memory, connections and tables of a web process and a worker over as many minutes.
MINUTES ?= 30
soak: services
	$(BIN)/python -m tests.soak --minutes $(MINUTES)

# The same under Django 6.1, where there is a Python that it runs on.
PYTHON6 ?= $(shell for python in python3.14 python3.13 python3.12 $(HOME)/.pyenv/versions/3.1[2-9].*/bin/python; do $$python --version >/dev/null 2>&1 && echo $$python && break; done)
test-django6: .venv/ready services
	@test -n "$(PYTHON6)" || { echo 'Django 6.1 needs Python 3.12 or newer, and there is none on PATH; name one with PYTHON6='; exit 1; }
	$(BIN)/uv venv --quiet --clear --python $(PYTHON6) .venv/django6
	$(BIN)/uv pip sync --quiet --python .venv/django6/bin/python --require-hashes requirements-dev.txt
	.venv/django6/bin/python -m pytest $(SIDE_BY_SIDE)

test-django6-if-possible:
	@if test -n "$(PYTHON6)"; then $(MAKE) test-django6; else echo 'Not tried under Django 6.1: there is no Python 3.12 or newer.'; fi

# The servers that tests start: what is missing is installed from Debian's packages, else as wheels.
services: .venv/ready
	@$(BIN)/python -m tests.services

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	DEBUG=1 SECRET_KEY=lint $(BIN)/mypy monitoring project
	DEBUG=1 SECRET_KEY=lint $(BIN)/python manage.py makemigrations --check --dry-run

# The pictures in docs/mails.md.
screenshots-mail: services
	$(BIN)/python -m tests.mailshots

screenshots-pages: services
	$(BIN)/python -m tests.pageshots

bench-recording: services
	$(BIN)/uv pip install --quiet --group bench
	$(BIN)/python -m bench.recording

# Where the data are made and kept, and how many runs at most.
DATA ?= var/bench
RUNS ?= 10_000_000
bench-scale: services
	$(BIN)/uv pip install --quiet --group bench
	$(BIN)/python -m bench.scale --data $(DATA) --runs $(RUNS)

lock:
	$(BIN)/uv pip compile pyproject.toml -q --upgrade --universal --generate-hashes --no-header --extra site --extra postgres --extra metrics -o requirements.txt
	$(BIN)/uv pip compile pyproject.toml -q --upgrade --universal --generate-hashes --no-header --all-extras --group dev -o requirements-dev.txt
	$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --no-header --group services -o requirements-services.txt

.venv/ready: requirements-dev.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check "$$(sed -n 's/^\(uv==[0-9.]*\).*/\1/p' requirements-dev.txt)"
	$(BIN)/uv pip sync --quiet --require-hashes requirements-dev.txt
	@touch $@

.env:
	@umask 077; printf 'DEBUG=1\nSECRET_KEY=%s\n' "$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(50))')" > $@

.PHONY: help demo run test faults outages upgrade soak fuzz test-django6 test-django6-if-possible lint services screenshots-mail screenshots-pages bench-recording bench-scale lock
