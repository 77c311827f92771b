//go:build !fill

// Command fill needs the build tag of the same name: what it calls of the engine is in no program without it.
//
//	go run -tags fill ./cmd/fill -data DIR -keys 1000000
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "fill: build it with -tags fill")
	os.Exit(2)
}
