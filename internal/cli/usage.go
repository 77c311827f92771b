package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usageError is wrong usage: exit status 2.
type usageError struct{ what, why, next string }

func (e *usageError) Error() string { return e.what + ": " + e.why }

func usagef(next, format string, args ...any) error {
	return &usageError{what: "wrong usage", why: fmt.Sprintf(format, args...), next: next}
}

func helpOf(cmd *cobra.Command) string { return cmd.CommandPath() + " --help shows the form" }

func unknownCommand(cmd *cobra.Command, name string) error {
	cmd.SuggestionsMinimumDistance = 2
	e := &usageError{what: "unknown command", why: fmt.Sprintf("%s has no command %q", cmd.CommandPath(), clip(name)), next: cmd.CommandPath() + " --help lists the commands"}
	if near := cmd.SuggestionsFor(name); len(near) > 0 && len(name) <= maxNameLength {
		e.next = fmt.Sprintf("did you mean %q? %s", cmd.CommandPath()+" "+near[0], e.next)
	}
	return e
}

func flagError(cmd *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	e := &usageError{what: "wrong usage", why: err.Error(), next: helpOf(cmd)}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		name := unknown.GetSpecifiedName()
		e.what, e.why = "unknown flag", fmt.Sprintf("%s has no flag %s", cmd.CommandPath(), dashed(name))
		if near := nearestFlag(cmd, name); near != "" {
			e.next = fmt.Sprintf("did you mean --%s? %s", near, e.next)
		}
	}
	return e
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + clip(name)
}

// wrongArguments turns cobra's complaint about the number of arguments into one that shows the form.
func wrongArguments(cmd *cobra.Command, err error) error {
	var already *usageError
	if errors.As(err, &already) {
		return err
	}
	return &usageError{what: "wrong usage", why: err.Error(), next: "the form is: " + cmd.UseLine() + "; " + helpOf(cmd)}
}

// nearestFlag is the flag that a wrong name was probably meant to be; empty: there is none.
func nearestFlag(cmd *cobra.Command, wrong string) string {
	if len(wrong) < 2 || len(wrong) > maxNameLength {
		return ""
	}
	best, least := "", max(2, len(wrong)/3)+1
	look := func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		d := distance(wrong, f.Name)
		if strings.HasPrefix(f.Name, wrong) {
			d = min(d, 1)
		}
		if d < least {
			best, least = f.Name, d
		}
	}
	cmd.Flags().VisitAll(look)
	cmd.InheritedFlags().VisitAll(look)
	return best
}

// maxNameLength is more than any command or flag has: what is longer is not compared.
const maxNameLength = 64

// distance is how many letters are added, left out or changed from a to b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

func clip(s string) string {
	if len(s) <= maxNameLength {
		return s
	}
	return s[:maxNameLength] + "…"
}

// oneOf refuses a value that is not in a list, and names the nearest.
func oneOf(what, value string, known []string) error {
	best, least := "", max(2, len(value)/2)+1
	for _, k := range known {
		if k == value {
			return nil
		}
		if len(value) <= maxNameLength {
			if d := distance(strings.ToLower(value), strings.ToLower(k)); d < least {
				best, least = k, d
			}
		}
	}
	next := "one of: " + strings.Join(known, ", ")
	if best != "" {
		next = fmt.Sprintf("did you mean %q? %s", best, next)
	}
	return usagef(next, "%q is not %s", clip(value), what)
}
