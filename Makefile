# Two commands to know: `make demo` and `make test`. Each alone installs what it needs, builds, and does the job.
PRESET ?= release
BUILD := build/$(PRESET)
JOBS ?= $(shell nproc)
TARGET := all

.PHONY: help demo test build deps test-asan test-tsan bench format lint clean

help:
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: TARGET := fathom_cli
demo: build ## train a small DeepSeek-V3-style model on English text, then let it continue a prompt
	@tools/demo.sh $(BUILD)/fathom

test: build ## build and run every test
	@ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

build: deps ## build the library, the binary `fathom`, tests and benchmarks
	@cmake --preset $(PRESET) --log-level=WARNING
	@cmake --build --preset $(PRESET) -j $(JOBS) --target $(TARGET)

deps: ## install the Debian packages of packages.txt that are missing
	@tools/install_packages.sh

test-asan: ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory test PRESET=asan-ubsan

test-tsan: ## the tests under ThreadSanitizer
	@$(MAKE) --no-print-directory test PRESET=tsan

bench: build ## every benchmark, each a ratio against a limit or a peer of the same run
	@tools/bench.sh $(BUILD)

format: ## rewrite all sources with clang-format
	@tools/format.sh --fix

lint: deps ## clang-tidy over all sources that have changed since it last passed
	@cmake --preset $(PRESET) --log-level=WARNING
	@cmake --build --preset $(PRESET) -j $(JOBS) --target lint -- -k 0 || { echo "clang-tidy: see above"; exit 1; }
	@echo "clang-tidy: all sources pass"

clean: ## remove all build trees
	@rm -rf build
