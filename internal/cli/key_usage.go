package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
)

func (a *app) keyUsage() *cobra.Command {
	var version uint32
	cmd := &cobra.Command{
		Use: "usage KEY [flags]", Short: "Show who used a key for what, and when last",
		Long: `Show who used a key for what, and when last: by version, principal and operation. It is the audit log added up, and includes
everything that was recorded before the command was run. Each item of a batch counts.`,
		Example: "  keyhold key usage orders\n  keyhold key usage orders --version 3 -o json",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			u, err := c.ReadUsage(ctx, args[0], version, a.options()...)
			if err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(u)
			}
			return a.showUsage(u)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	cmd.Flags().Uint32Var(&version, "version", 0, "only this version; 0: all")
	return cmd
}

// useRow is one line of the table: a principal's use of a version.
type useRow struct {
	version uint32
	user    client.UsageUser
}

func (a *app) showUsage(u client.Usage) error {
	var rows []useRow
	for _, v := range slices.Backward(u.Versions) { // the newest first, what reached no version last
		for _, user := range v.Users {
			rows = append(rows, useRow{v.Version, user})
		}
	}
	err := listing(a, "uses", 0, each(rows), []string{"VERSION", "PRINCIPAL", "DONE", "REFUSED", "FIRST", "LAST", "OPERATIONS"}, func(r useRow) []cell {
		version := strconv.FormatUint(uint64(r.version), 10)
		if r.version == 0 {
			version = "none"
		}
		return []cell{plain(version), plain(userName(r.user)), plain(count(r.user.Done)), refusals(r.user.Refused), plain(moment(r.user.First)), plain(moment(lastOf(r.user))), plain(operationsOf(r.user.Operations))}
	})
	if err == nil && !u.Since.IsZero() {
		fmt.Fprintf(a.stderr, "counted from %s to %s\n", moment(u.Since), moment(u.Through))
	}
	return err
}

// userName is a principal as people read it.
func userName(u client.UsageUser) string {
	switch {
	case u.Others:
		return "(others)"
	case u.Name == "":
		return fmt.Sprintf("(erased %x)", u.Alias)
	}
	return u.Name
}

func refusals(n uint64) cell {
	if n == 0 {
		return plain("0")
	}
	return cell{count(n), yellow}
}

// lastOf is when a principal did or tried something last.
func lastOf(u client.UsageUser) (last time.Time) {
	for _, o := range u.Operations {
		if o.Last.After(last) {
			last = o.Last
		}
	}
	return last
}

// operationsOf sums operations up in a few words: Decrypt 12, Encrypt 3 (KH1101).
func operationsOf(all []client.UsageOperation) string {
	var said []string
	for _, o := range all {
		s := o.Action + " " + count(o.Count)
		if o.Code != "" {
			s += " (" + o.Code + ")"
		}
		if !slices.Contains(said, s) {
			said = append(said, s)
		}
	}
	return strings.Join(said, ", ")
}
