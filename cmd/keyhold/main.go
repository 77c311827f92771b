// Command keyhold is the key server and its command line, in one binary.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/internal/cli"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(cli.Run(cli.Config{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Environ: os.Environ(), Version: version,
		Commands: []*cobra.Command{serverCommand(version), witnessCommand()},
	}, os.Args[1:]))
}
