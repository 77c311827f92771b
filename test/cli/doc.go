// Package cli runs the real binary as its users do: every command against a real server, by scripts (testdata/*.txtar), and the page of documentation
// that lists the commands.
package cli
