#!/bin/sh
# Compiles api/**/*.proto: writes the Go code beside them and docs/api.md. Needs Go alone.
set -eu
cd "$(dirname "$0")"
go run ./apigen -root ..
gofmt -w ../api
go run ./awsgen -model ../internal/dialect/aws/testdata/model/model.json -out ../internal/dialect/aws/shapes.go
