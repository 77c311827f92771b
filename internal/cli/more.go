package cli

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/internal/config"
)

func (a *app) configCommand() *cobra.Command {
	return group(groupServer, "config", "Check a server's configuration", "Check a server's configuration file (docs/configuration.md).", a.configCheck())
}

// configChecked is the JSON of a configuration check.
type configChecked struct {
	File     string          `json:"file"`
	Valid    bool            `json:"valid"`
	Problems []configProblem `json:"problems,omitempty"`
}

// configProblem is one thing that is wrong with a configuration.
type configProblem struct {
	Place   string `json:"place"`
	Setting string `json:"setting,omitempty"`
	What    string `json:"what"`
	Want    string `json:"want,omitempty"`
}

func (a *app) configCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check FILE", Short: "Check a configuration file without starting a server",
		Long:    "Check a configuration file without starting a server: every mistake is named with its line, the nearest known name and the form that is wanted.",
		Example: "  keyhold config check keyhold.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			err := config.Check(args[0])
			if a.json() {
				r := configChecked{File: args[0], Valid: err == nil}
				var ps config.Problems
				if err != nil && !errors.As(err, &ps) {
					return err
				}
				for _, p := range ps {
					r.Problems = append(r.Problems, configProblem{p.Place, p.Setting, p.What, p.Want})
				}
				return errors.Join(a.writeJSON(r), answered(r.Valid))
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "ok: %s is a configuration\n", printable(args[0]))
			return err
		},
		ValidArgsFunction: first(files),
	}
}

// versionInfo is the JSON of the version.
type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the source
	Modified bool   `json:"modified,omitempty"` // the source had changes on top of it
	Go       string `json:"go"`
	Platform string `json:"platform"`
	FIPS     string `json:"fips,omitempty"` // the FIPS 140-3 module that was built in
	Erasing  bool   `json:"erasing"`        // what short-lived keys leave in memory is erased (runtime/secret)
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", GroupID: groupMore,
		Long:    "Print the version of this program, of its source and of Go, and the FIPS 140-3 module that was built in, if any.",
		Example: "  keyhold version",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := versionInfo{Version: a.version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
			if b, ok := debug.ReadBuildInfo(); ok {
				for _, s := range b.Settings {
					switch s.Key {
					case "vcs.revision":
						v.Revision = s.Value
					case "vcs.modified":
						v.Modified = s.Value == "true"
					case "GOFIPS140":
						v.FIPS = s.Value
					case "GOEXPERIMENT":
						v.Erasing = slices.Contains(strings.Split(s.Value, ","), "runtimesecret")
					}
				}
			}
			if a.json() {
				return a.writeJSON(v)
			}
			_, err := fmt.Fprintf(a.out, "keyhold %s %s %s\n", v.Version, v.Go, v.Platform)
			if err == nil && v.Revision != "" {
				_, err = fmt.Fprintf(a.out, "source %s%s\n", v.Revision, map[bool]string{true: " (modified)"}[v.Modified])
			}
			if err == nil && v.FIPS != "" {
				_, err = fmt.Fprintf(a.out, "FIPS 140-3 module %s\n", v.FIPS)
			}
			if err == nil && v.Erasing {
				_, err = fmt.Fprintln(a.out, "erases what short-lived keys leave in memory (runtime/secret)")
			}
			return err
		},
		ValidArgsFunction: fixed(),
	}
}
