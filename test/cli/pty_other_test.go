//go:build !linux

package cli_test

import "github.com/rogpeppe/go-internal/testscript"

func onTerminal(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Fatalf("this test opens a pseudo-terminal as Linux does")
}

func shown(ts *testscript.TestScript, _ bool, _ []string) { ts.Fatalf("there is no terminal") }
