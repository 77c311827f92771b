# Keyhold. `make help` lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help build demo test test-slow test-long lint bench bench-check microbench fuzz generate docs clean

# The version is that of the newest tag, or the commit.
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# runtime/secret erases what short-lived keys leave on stack and heap. It is an experiment of Go 1.26 for linux on amd64 and arm64: elsewhere,
# and with a toolchain that does not know it, the programs are built without, and work the same (keyhold version tells).
ERASING  := $(shell GOEXPERIMENT=runtimesecret go list runtime/secret >/dev/null 2>&1 && echo GOEXPERIMENT=runtimesecret)
GOBUILD   = CGO_ENABLED=0 $(ERASING) go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)'
FILE     ?= README.md
FUZZTIME ?= 30s
BENCH    ?= .
PKG      ?= ./...
BENCH_GROUPS ?= 5
BENCH_OPS    ?= all
BENCH_ARGS   ?=
export FILE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/keyhold, bin/keyhold-verify and bin/keyhold-fips: static, without cgo
	$(GOBUILD) -o bin/keyhold ./cmd/keyhold
	$(GOBUILD) -o bin/keyhold-verify ./cmd/keyhold-verify
	GOFIPS140=v1.0.0 $(GOBUILD) -o bin/keyhold-fips ./cmd/keyhold

demo: ## create a key, encrypt and decrypt FILE (default README.md), show and verify the audit records of it
	@$(GOBUILD) -o bin/keyhold ./cmd/keyhold
	@$(GOBUILD) -o bin/keyhold-verify ./cmd/keyhold-verify
	@scripts/demo.sh "$$FILE"

test: ## what CI runs: install what is missing, then check, lint and test everything at reduced sizes
	@scripts/test.sh

test-slow: ## clients that take a cluster of their own: Ceph's gateway, with its objects under keys of this server
	@scripts/test-slow.sh

test-long: ## the same tests at full size: hours
	KEYHOLD_LONG=1 go test -count=1 -timeout 12h ./...

lint: ## golangci-lint, at the version of tools/lint/go.mod
	go tool -modfile=tools/lint/go.mod golangci-lint run ./...

bench: ## compare with the yardstick, ten minutes (BENCH_GROUPS=5, BENCH_OPS=encrypt-32,…, BENCH_ARGS='-write ../docs/performance.md')
	cd bench && go run ./cmd/run -groups '$(BENCH_GROUPS)' -ops '$(BENCH_OPS)' $(BENCH_ARGS)

bench-check: ## fail if encryption takes more than 1.5 times the CPU time that it may: half a minute
	cd bench && go run ./cmd/run -groups 9 -window 1s -ops encrypt-32,decrypt-32 -servers bare,keyhold-unsynced -check 1.5

microbench: ## run the benchmarks beside the code (BENCH=regexp, PKG=./internal/engine)
	go test -run '^$$' -bench '$(BENCH)' -benchmem $(PKG)

fuzz: ## fuzz every target for FUZZTIME each (default 30s; PKG=./internal/kms for one package)
	@scripts/fuzz.sh '$(FUZZTIME)' '$(PKG)'

generate: ## compile api/**/*.proto: Go code and docs/api.md
	tools/generate.sh

docs: ## write docs/configuration.md, docs/algorithms.md and docs/cli.md from the code, and check all pages
	go test -count=1 ./internal/config -run TestDocumentationMatchesTheTable -update
	KEYHOLD_UPDATE=1 go test -count=1 ./internal/kms -run TestPageShowsTheAlgorithms
	go test -count=1 ./test/cli -run TestReferenceIsWhatTheBinarySays -update
	go test -count=1 ./internal/doctest

clean: ## remove what was built
	rm -rf bin .demo
