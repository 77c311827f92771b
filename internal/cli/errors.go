package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
)

// trouble is an error as it is shown: three lines.
type trouble struct{ title, code, why, next, decision, request string }

// report writes an error and answers the exit status.
func (a *app) report(cmd *cobra.Command, err error) int {
	if errors.Is(err, errAnswered) {
		return exitFailure
	}
	t, status := describe(err), exitFailure
	var usage *usageError
	if errors.As(err, &usage) {
		status = exitUsage
	}
	name := "keyhold"
	if cmd != nil {
		name = cmd.CommandPath()
	}
	var b strings.Builder
	b.WriteString(a.paint(a.stderr, red, name+": "+printable(t.title)))
	if t.code != "" {
		fmt.Fprintf(&b, " (%s)", printable(t.code))
	}
	fmt.Fprintf(&b, "\n  why:  %s\n  next: %s", indent(t.why), indent(t.next))
	if t.decision != "" {
		fmt.Fprintf(&b, " (decision %s)", printable(t.decision))
	}
	if t.request != "" {
		fmt.Fprintf(&b, " (request %s)", printable(t.request))
	}
	b.WriteByte('\n')
	_, _ = a.stderr.WriteString(b.String()) // there is nowhere left to say that it failed
	return status
}

// indent keeps the lines of a longer text under its first one.
func indent(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n        ")
}

// describe finds the words for any error.
func describe(err error) trouble {
	var (
		usage   *usageError
		remote  *client.Error
		local   *kms.Error
		missing *fs.PathError
	)
	switch {
	case errors.As(err, &usage):
		return trouble{title: usage.what, why: usage.why, next: usage.next}
	case errors.As(err, &remote):
		t := trouble{title: remote.Title, code: remote.Code, why: remote.What, next: remote.Next, decision: remote.Decision}
		if remote.Decision != "" {
			t.next = strings.ReplaceAll(t.next, "DECISION", remote.Decision)
		}
		if remote.Code == client.CodeInternal {
			t.request = remote.RequestID
		}
		return t
	case errors.As(err, &local):
		return trouble{title: local.Code.Title(), code: local.Code.String(), why: local.What, next: local.Advice(), decision: local.Decision}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return trouble{title: "interrupted", why: "the command was stopped before it ended", next: "run it again"}
	case errors.As(err, &missing):
		next := "check the path"
		if errors.Is(err, fs.ErrPermission) {
			next = "run it as a user who may use that path"
		}
		return trouble{title: "a file cannot be used", why: err.Error(), next: next}
	}
	return trouble{title: "it did not work", why: err.Error(), next: "correct what is named above and run the command again"}
}

// refusal is a refusal of this program's own, with one of the codes that the server uses.
func refusal(code kms.Code, next, format string, args ...any) error {
	e := kms.Errorf(code, format, args...)
	e.Next = next
	return e
}
