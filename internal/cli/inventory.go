package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
)

// inventoryQuery are the flags that select keys.
type inventoryQuery struct {
	client.InventoryFilter
	labels pairs
	owner  string
	unused days
}

func (q *inventoryQuery) flags(cmd *cobra.Command) {
	choice(cmd, &q.Algorithm, "algorithm", "only keys of this algorithm", algorithms())
	choice(cmd, &q.Usage, "usage", "only keys of this purpose: "+strings.Join(usages(), ", "), usages())
	choice(cmd, &q.State, "state", "only keys whose switch stands so: "+strings.Join(switches(), ", "), switches())
	choice(cmd, &q.VersionState, "version-state", "only keys whose primary version is in this state: "+strings.Join(named(kms.AllStates()), ", "), named(kms.AllStates()))
	choice(cmd, &q.Origin, "origin", "only keys whose material comes from there: "+strings.Join(origins(), ", "), origins())
	f := cmd.Flags()
	f.StringVar(&q.DataClass, "class", "", "only keys that protect data of this classification")
	f.StringVar(&q.owner, "owner", "", "only keys of this owner, which is label owner")
	q.labels.flag(cmd, "label", "only keys with this label; can be repeated: all must match")
	f.StringVar(&q.Template, "template", "", "only keys that were made by this template")
	f.BoolVar(&q.Overdue, "overdue", false, "only keys whose rotation was missed")
	f.Var(&q.unused, "unused", "only keys with which nothing is known to have been done for so long, and that are older, like 90d")
	words(cmd, &q.Unknown, "unknown", "only keys of which this is unknown: "+strings.Join(unknowns(), ", ")+"; can be repeated: all must be unknown")
	must(cmd.RegisterFlagCompletionFunc("unknown", fixed(unknowns()...)))
}

func origins() []string {
	return named([]kms.Origin{kms.Generated, kms.Imported, kms.HSM, kms.External})
}

// unknowns are what the server notes as unknown of a key.
func unknowns() []string { return []string{"class", "owner", "purpose", "rotation", "use", "access"} }

// filter is what the flags say.
func (q *inventoryQuery) filter(args []string, now time.Time) (client.InventoryFilter, error) {
	f := q.InventoryFilter
	for _, v := range []struct {
		what, value string
		known       []string
	}{{"an algorithm", f.Algorithm, algorithms()}, {"a usage", f.Usage, usages()}, {"a state of a key", f.State, switches()},
		{"a state of a version", f.VersionState, named(kms.AllStates())}, {"an origin", f.Origin, origins()}} {
		if v.value == "" {
			continue
		}
		if err := oneOf(v.what, v.value, v.known); err != nil {
			return f, err
		}
	}
	for _, u := range f.Unknown {
		if err := oneOf("noted as unknown", u, unknowns()); err != nil {
			return f, err
		}
	}
	if len(args) > 0 {
		f.NamePrefix = args[0]
	}
	f.Labels = maps.Clone(map[string]string(q.labels))
	if q.owner != "" {
		if said, ok := f.Labels[kms.LabelOwner]; ok && said != q.owner {
			return f, usagef("give one of them", "--owner and --label owner=… say different owners")
		}
		if f.Labels == nil {
			f.Labels = map[string]string{}
		}
		f.Labels[kms.LabelOwner] = q.owner
	}
	if q.unused != 0 {
		f.UnusedSince = now.Add(-time.Duration(q.unused)).UTC()
	}
	return f, nil
}

func (a *app) inventoryCommand() *cobra.Command {
	var q inventoryQuery
	var limit int
	var form string
	var to output
	cmd := &cobra.Command{
		Use: "inventory [PREFIX] [flags]", Short: "Show what is known of every key, and what is not", GroupID: groupKeys,
		Long: `Show what is known of the keys that you may see, in order of creation: what each protects, where it lives, who may use and manage it, how it is
rotated, when it was used last, and what is unknown. With PREFIX: of those whose name begins so. -o json says all of it.

Who may use and manage a key is shown to who may ask policies about others, or read the audit log. It is everybody with a
credential that stands who could do so at some time and from somewhere.

--format csv writes comma-separated values (RFC 4180); a field that a spreadsheet would take for a formula begins with an apostrophe. --format cbom writes
a cryptographic bill of materials (CycloneDX 1.6): each key's newest 20 versions, and their algorithms.`,
		Example: "  keyhold inventory\n" +
			"  keyhold inventory --class confidential --overdue\n" +
			"  keyhold inventory --unused 90d --unknown owner -o json\n" +
			"  keyhold inventory --format csv --out keys.csv\n" +
			"  keyhold inventory --format cbom --out keys.cdx.json",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: first(a.completeKeys),
	}
	cmd.RunE = a.call(func(ctx context.Context, c *client.Client, args []string) error {
		f, err := q.filter(args, time.Now())
		if err != nil {
			return err
		}
		if form != "" {
			if err := oneOf("a form of the inventory", form, inventoryForms()); err != nil {
				return err
			}
			if a.json() && form != formatJSON {
				return usagef("give one of them", "-o json and --format %s say different forms", form)
			}
		}
		if to.out != "" && form != formatCSV && form != formatCBOM {
			return usagef("redirect standard output for the others", "--out goes with --format csv or cbom")
		}
		bar := a.progress("keys")
		defer bar.end()
		all := c.ListInventory(ctx, f, func(p client.InventoryProgress) { bar.show(p.Scanned, 0, count) }, a.options()...)
		switch form {
		case formatCSV, formatCBOM:
			return a.writeInventory(form, to, limit, all)
		case formatJSON:
			a.flags.output = formatJSON
		}
		return listing(a, "keys", limit, all, []string{"NAME", "CLASS", "OWNER", "ALGORITHM", "STATE", "VERSION", "USERS", "MANAGERS", "ROTATION", "LAST USED", "UNKNOWN"}, inventoryRow)
	})
	q.flags(cmd)
	limitFlag(cmd, &limit, 0)
	choice(cmd, &form, "format", "form of the output: "+strings.Join(inventoryForms(), ", "), inventoryForms())
	cmd.Flags().StringVar(&to.out, "out", "", "file for csv or cbom; it is there when it is whole")
	cmd.Flags().BoolVar(&to.force, "force", false, "replace a file that is there")
	cmd.AddCommand(a.inventorySummary())
	return cmd
}

func inventoryRow(k client.InventoryKey) []cell {
	standing := state(k.Key.State)
	if k.Key.State == kms.Enabled.String() && k.VersionState != "" && k.VersionState != kms.Active.String() {
		standing = state(k.VersionState)
	}
	return []cell{plain(k.Key.Name), plain(k.Key.DataClass), plain(k.Key.Labels[kms.LabelOwner]), plain(k.Key.Algorithm), standing, plain(versionsOf(k.Key)),
		plain(peopleOf(k, k.Users, k.UserCount)), plain(peopleOf(k, k.Managers, k.ManagerCount)), rotationOf(k), plain(usedOf(k)), {strings.Join(k.Unknown, ","), yellow}}
}

// peopleOf is who may, in a few words.
func peopleOf(k client.InventoryKey, names []string, n uint32) string {
	const shown = 2
	switch {
	case !k.AccessShown:
		return "(not shown)"
	case n == 0:
		return "nobody"
	case len(names) <= shown && int(n) == len(names):
		return strings.Join(names, ",")
	}
	names = names[:min(len(names), shown)]
	return fmt.Sprintf("%s +%d", strings.Join(names, ","), int(n)-len(names))
}

func rotationOf(k client.InventoryKey) cell {
	switch {
	case k.Overdue:
		return cell{"overdue since " + moment(k.NextRotation), red}
	case !k.NextRotation.IsZero():
		return plain(k.NextRotation.UTC().Format(time.DateOnly))
	}
	return plain(k.Rotation)
}

func usedOf(k client.InventoryKey) string {
	switch {
	case !k.LastUsed.IsZero():
		return moment(k.LastUsed)
	case slices.Contains(k.Unknown, "use"):
		return "unknown"
	}
	return "never"
}

func (a *app) inventorySummary() *cobra.Command {
	var q inventoryQuery
	cmd := &cobra.Command{
		Use: "summary [PREFIX] [flags]", Short: "Count keys by what is known of them, and what is not",
		Long:    "Count the keys that you may see: by class of data, algorithm, state and rotation, and how many there are of which something is unknown.",
		Example: "  keyhold inventory summary\n  keyhold inventory summary --class confidential -o json",
		Args:    cobra.MaximumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			f, err := q.filter(args, time.Now())
			if err != nil {
				return err
			}
			bar := a.progress("keys")
			sum, err := c.SummarizeInventory(ctx, f, func(n uint64) { bar.show(n, 0, count) }, a.options()...)
			bar.end()
			if err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(sum)
			}
			return a.showSummary(sum)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	q.flags(cmd)
	return cmd
}

func (a *app) showSummary(s client.InventorySummary) error {
	all := []fact{{"keys", plain(count(s.Keys))}, {"overdue", alarming(s.Overdue)}, {"never used", plain(count(s.NeverUsed))}}
	for _, by := range []struct {
		name string
		of   map[string]uint64
	}{{"class", s.ByClass}, {"algorithm", s.ByAlgorithm}, {"state", s.ByState}, {"rotation", s.ByRotation}, {"unknown", s.Unknown}} {
		all = append(all, fact{by.name, plain(countsOf(by.of))})
	}
	return a.facts(all...)
}

func alarming(n uint64) cell {
	if n == 0 {
		return plain("0")
	}
	return cell{count(n), red}
}

// countsOf lists counts by name, the greatest first, one a line.
func countsOf(of map[string]uint64) string {
	names := slices.SortedFunc(maps.Keys(of), func(x, y string) int {
		if of[x] != of[y] {
			return int(min(of[y], 1<<40)) - int(min(of[x], 1<<40)) //nolint:gosec // G115: bounded
		}
		return strings.Compare(x, y)
	})
	lines := make([]string, len(names))
	for i, n := range names {
		lines[i] = count(of[n]) + " " + or(n, "(none)")
	}
	return strings.Join(lines, "\n")
}
