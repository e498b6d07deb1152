# make demo         two hosts in containers on this machine, from nothing to a trained network
# make demo-clean   remove all that the demo and the tests made in Docker
# make test         what CI runs: lint, unit, machine, packages, molecule
# make verify-matrix  compare the compatibility data with what the package index serves today
# make reboot       facts through ssh, and the driver's role over a real reboot, on an emulated machine
# make spark-upgrade  two releases of Spark, forth and back
# make hadoop | hdfs-training   the Hadoop client, and a training on what lies in HDFS, against a real cluster
# make lint | unit | machine | packages | molecule [SCENARIO=pytorch] | bench | collection | clean

PYTHON ?= python3
VENV := .venv
# Molecule: take scenarios from molecule/, two at a time; with prerun off (see .config/molecule/config.yml).
export MOLECULE_GLOB := molecule/*/molecule.yml
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# The longest first, so that two at a time end together. Not among them, each with SCENARIO=NAME: tensorflow (10 GB on two hosts),
# cuda_distribution, nvidia_driver, nvidia_driver_switch, spark.
SCENARIO ?= training_check default pytorch python cuda environments bootstrap
PARALLEL ?= 2

.PHONY: demo demo-clean test verify-matrix spark-upgrade lint unit machine reboot packages molecule hadoop hdfs-training bench collection clean venv engine

demo: venv
	@$(PYTHON) tests/workbench/engine.py up debian12
	@ansible-playbook tests/workbench/demo.yml
	ansible-playbook site.yml -i inventories/demo
	@echo
	@echo "The GPUs of these two hosts are stand-ins, read from files in tests/emulation/; the networks were trained on this machine's CPU."
	@echo "Log in: docker exec -ti demo-v100 bash     Remove everything: make demo-clean"

demo-clean:
	@$(PYTHON) tests/workbench/engine.py clean

test: lint unit machine packages molecule

lint: venv
	ruff check .
	ruff format --check .
	vermin --quiet --target=3.6- --no-tips plugins/modules plugins/module_utils roles/training_check/files
	yamllint --strict .
	antsibull-changelog lint
	ansible-lint

# Then once more what runs on targets, with each of the Pythons 3.6, 3.8, 3.11 and 3.13 that this machine has.
# And what reads and plans a fleet with ansible-core 2.16 and the newest.
unit: venv
	pytest -n auto tests/unit
	@$(PYTHON) tests/workbench/pythons.py .cache/pythons
	@$(PYTHON) tests/workbench/cores.py .cache/cores

# The facts modules in an emulated machine with NVMe drives and DIMMs; skipped with the reason where it cannot be built.
machine: venv
	pytest -rs tests/machine

# An emulated machine with Debian on its disk, which really reboots: minutes, so not in CI; root on Debian 12 only.
reboot: venv
	pytest -rs tests/reboot

# Package managers at work in containers, on repositories of stand-ins; skipped with the reason where no engine answers.
packages: venv
	@$(PYTHON) tests/workbench/engine.py up debian12
	pytest -rs -n 2 tests/packages

molecule: venv .cache/artifact
	@$(PYTHON) tests/workbench/engine.py up debian11 debian12 debian13
	@rm -f .cache/molecule/*.failed
	@printf '%s\n' $(SCENARIO) | xargs -P $(PARALLEL) -I {} sh tests/workbench/molecule.sh {} || { cat .cache/molecule/*.failed; exit 1; }

# Two whole releases of Spark, so not in CI: upgrade, back, forth.
spark-upgrade: venv .cache/artifact
	@$(PYTHON) tests/workbench/engine.py up debian12
	molecule test -s spark_upgrade

# Bigger scenarios with a real HDFS: the client with Kerberos and every failure, and a training on what lies in HDFS.
hadoop: SCENARIO = hadoop_client
hdfs-training: SCENARIO = hdfs_training
hadoop hdfs-training: molecule

verify-matrix: venv
	$(PYTHON) tests/matrix/verify.py

bench: venv
	$(PYTHON) tests/bench/environments.py
	$(PYTHON) tests/bench/facts.py
	$(PYTHON) tests/bench/drives.py
	$(PYTHON) tests/bench/stack.py

# The collection as Galaxy would give it: what Molecule tests is what users install.
collection: venv
	ansible-galaxy collection build --force --output-path .cache .

.cache/artifact: $(shell git ls-files galaxy.yml plugins roles playbooks meta)
	$(MAKE) collection
	rm -rf $@
	ansible-galaxy collection install --force --no-deps --offline --collections-path $@ .cache/gpufleet-workstation-*.tar.gz
	touch $@

venv:
	@$(PYTHON) tests/workbench/venv.py $(VENV) requirements-dev.txt

clean:
	rm -rf .cache $(VENV) .ansible .pytest_cache .ruff_cache
