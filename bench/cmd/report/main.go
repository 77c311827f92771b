// Command report makes tables of the results that load, fsync and run wrote: report [-write PAGE] [-check SLACK] FILE...
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/keyhold/keyhold/bench/internal/report"
	"github.com/keyhold/keyhold/bench/internal/results"
)

func main() {
	page := flag.String("write", "", "put the tables between the marks of this page instead of printing them")
	slack := flag.Float64("check", 0, "instead, fail if a bar on CPU time is exceeded by more than this factor")
	groups := flag.Int("groups", 5, "groups that -check wants at least")
	flag.Parse()
	if err := run(*page, *slack, *groups, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(page string, slack float64, groups int, files []string) error {
	if len(files) == 0 {
		return fmt.Errorf("no files are named")
	}
	var all [][]results.Line
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		lines, err := results.Read(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, lines)
	}
	d := report.Gather(all...)
	switch {
	case slack > 0:
		return d.Check(slack, groups)
	case page == "":
		fmt.Print(d.Markdown())
		return nil
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	with, err := report.Insert(string(text), d.Markdown())
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	return os.WriteFile(page, []byte(with), 0o644)
}
