package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
)

func presetNames(freeze, processDeactivated, exportable bool) string {
	var all []string
	for _, p := range []struct {
		on   bool
		name string
	}{{freeze, "freeze"}, {processDeactivated, "process-deactivated"}, {exportable, "exportable"}} {
		if p.on {
			all = append(all, p.name)
		}
	}
	return strings.Join(all, ", ")
}

// periodText is a cryptoperiod as people read it.
func periodText(p client.Cryptoperiod) string {
	var all []string
	if p.EverySeconds != 0 {
		all = append(all, "every "+spell(time.Duration(p.EverySeconds)*time.Second))
	}
	if p.Calendar != "" {
		all = append(all, p.Calendar)
	}
	if p.Operations != 0 {
		all = append(all, strconv.FormatUint(p.Operations, 10)+" operations")
	}
	if p.Bytes != 0 {
		all = append(all, size(p.Bytes))
	}
	return strings.Join(all, ", ")
}

func (a *app) templateFlag(cmd *cobra.Command, to *string, help string) {
	cmd.Flags().StringVar(to, "template", "", help)
	must(cmd.RegisterFlagCompletionFunc("template", a.completeTemplates))
}

func (a *app) completeTemplates(cmd *cobra.Command, _ []string, part string) ([]string, cobra.ShellCompDirective) {
	return a.ask(cmd, func(ctx context.Context, c *client.Client) (names []string) {
		for t, err := range c.ListTemplates(ctx) {
			if err != nil || len(names) == completeMost {
				break
			}
			if strings.HasPrefix(t.Name, part) {
				names = append(names, cobra.CompletionWithDesc(t.Name, t.Algorithm+" "+t.DataClass))
			}
		}
		return names
	})
}

func (a *app) templateCommand() *cobra.Command {
	return group(groupKeys, "template", "Say what keys of one kind are made of",
		`Keep the templates of the namespace. A template says, for one classification of data, what its keys are: algorithm, cryptoperiod, labels,
what they must say of themselves, what nobody may choose otherwise, and how long they wait for their destruction.
docs/inventory.md describes them.`,
		a.templatePut(), a.templateShow(), a.templateList(), a.templateDelete(), a.templateInit())
}

// templateChange is the JSON of a template after a change.
type templateChange struct {
	client.Template
	DryRun bool `json:"dry_run,omitempty"`
}

func (a *app) templatePut() *cobra.Command {
	var ch change
	var t client.Template
	var labels pairs
	var period struct {
		every, window, least days
	}
	var file string
	cmd := &cobra.Command{
		Use: "put NAME [flags]", Short: "Store a template, new or in place of another",
		Long: `Store a template. It is what the flags say and nothing else: a template of that name is replaced whole. --from FILE takes it as JSON, in the
form that keyhold template show -o json gives. Keys that were made by the old one stay as they are.`,
		Example: "  keyhold template put salaries --class confidential --default --algorithm aes-256-gcm --every 365d --require owner --lock algorithm\n" +
			"  keyhold template put salaries --from salaries.json --dry-run",
		Args: cobra.ExactArgs(1), ValidArgsFunction: first(a.completeTemplates),
	}
	cmd.RunE = a.call(func(ctx context.Context, c *client.Client, args []string) error {
		if file != "" {
			var err error
			if t, err = a.readTemplate(file); err != nil {
				return err
			}
		} else {
			t.Labels = labels
			t.Cryptoperiod.EverySeconds = int64(time.Duration(period.every) / time.Second)
			t.DestructionWindowSeconds = int64(time.Duration(period.window) / time.Second)
			t.MinimumDestructionWindowSeconds = int64(time.Duration(period.least) / time.Second)
		}
		t.Name = args[0]
		made, err := c.PutTemplate(ctx, t, false, a.with(ch)...)
		if err != nil {
			return err
		}
		return a.say(ch, templateChange{made, ch.dryRun}, "stored template %s", made.Name)
	})
	f := cmd.Flags()
	f.StringVar(&file, "from", "", "file that holds the template as JSON; - is standard input")
	f.StringVar(&t.Description, "description", "", "free text, at most 1,024 bytes")
	f.StringVar(&t.DataClass, "class", "", "classification of the data that its keys protect")
	f.BoolVar(&t.DefaultOfClass, "default", false, "make it the template of its class: naming the class is enough to make a key by it")
	choice(cmd, &t.Algorithm, "algorithm", "algorithm of its keys", algorithms())
	choice(cmd, &t.Usage, "usage", "purpose of its keys, where the algorithm can serve several", usages())
	f.Uint32Var(&t.Bytes, "bytes", 0, "HMAC keys: bytes of key material")
	f.Var(&period.every, "every", "cryptoperiod: time between rotations, like 365d")
	f.Uint64Var(&t.Cryptoperiod.Operations, "operations", 0, "cryptoperiod: operations that protect, of one version")
	f.Uint64Var(&t.Cryptoperiod.Bytes, "protected-bytes", 0, "cryptoperiod: bytes that one version protects")
	f.BoolVar(&t.Freeze, "freeze", false, "while suspended, its keys do not decrypt or verify either")
	f.BoolVar(&t.ProcessDeactivated, "process-deactivated", false, "deactivated versions go on decrypting and verifying")
	f.BoolVar(&t.Exportable, "exportable", false, "the material of its keys may leave, wrapped")
	labels.flag(cmd, "label", "label of its keys; can be repeated")
	words(cmd, &t.Required, "require", "metadata that its keys must carry: description, class, or the name of a label such as owner; can be repeated")
	words(cmd, &t.Locked, "lock", "what nobody may choose otherwise: algorithm, usage, bytes, cryptoperiod, labels, class, freeze, process-deactivated or exportable; can be repeated")
	f.Var(&period.window, "destruction-window", "window before destruction where none is asked for, like 30d")
	f.Var(&period.least, "minimum-destruction-window", "shortest window that can be asked for")
	ch.flags(cmd)
	return cmd
}

// readTemplate reads a template as JSON. A field that it does not know is a mistake, not something to pass over.
func (a *app) readTemplate(file string) (t client.Template, err error) {
	text, _, err := a.read([]string{file}, maxTextFile)
	if err != nil {
		return t, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err = d.Decode(&t); err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return t, nil
		}
		err = errors.New("something follows it")
	}
	return t, refusal(kms.CodeBadRequest, "keyhold template show NAME -o json shows the form", "the file %s does not hold one template: %v", file, err)
}

func (a *app) templateShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a template",
		Long:    "Show a template. What -o json gives, keyhold template put --from takes.",
		Example: "  keyhold template show confidential -o json",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			t, err := c.GetTemplate(ctx, args[0], a.options()...)
			if err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(t)
			}
			return a.facts(
				fact{"name", plain(t.Name)}, fact{"description", plain(t.Description)}, fact{"data class", plain(classOf(t))}, fact{"algorithm", plain(t.Algorithm)}, fact{"usage", plain(t.Usage)},
				fact{"bytes", plain(some(uint64(t.Bytes)))}, fact{"cryptoperiod", plain(periodText(t.Cryptoperiod))},
				fact{"presets", plain(presetNames(t.Freeze, t.ProcessDeactivated, t.Exportable))}, fact{"labels", plain(labelsOf(t.Labels))},
				fact{"required", plain(strings.Join(t.Required, ", "))}, fact{"locked", plain(strings.Join(t.Locked, ", "))},
				fact{"destruction window", plain(windowText(t.DestructionWindowSeconds))}, fact{"at least", plain(windowText(t.MinimumDestructionWindowSeconds))},
				fact{"changed", plain(moment(t.ChangedAt))}, fact{"by", plain(t.ChangedBy)}, fact{"revision", plain(some(t.Revision))},
			)
		}),
		ValidArgsFunction: first(a.completeTemplates),
	}
}

func classOf(t client.Template) string {
	if t.DefaultOfClass {
		return t.DataClass + " (its template)"
	}
	return t.DataClass
}

// some is a number that is not 0.
func some(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func windowText(seconds int64) string {
	if seconds == 0 {
		return ""
	}
	return spell(time.Duration(seconds) * time.Second)
}

func (a *app) templateList() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list [flags]", Short: "List the templates of the namespace",
		Long:    "List the templates of the namespace.",
		Example: "  keyhold template list",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			return listing(a, "templates", limit, c.ListTemplates(ctx, a.options()...), []string{"NAME", "CLASS", "ALGORITHM", "CRYPTOPERIOD", "REQUIRED", "LOCKED"}, func(t client.Template) []cell {
				return []cell{plain(t.Name), plain(classOf(t)), plain(t.Algorithm), plain(periodText(t.Cryptoperiod)), plain(strings.Join(t.Required, ",")), plain(strings.Join(t.Locked, ","))}
			})
		}),
		ValidArgsFunction: fixed(),
	}
	limitFlag(cmd, &limit, 0)
	return cmd
}

func (a *app) templateDelete() *cobra.Command {
	var ch change
	cmd := &cobra.Command{
		Use: "delete NAME [flags]", Short: "Remove a template",
		Long:    "Remove a template. Keys that were made by it stay as they are, and what it required of them ends.",
		Example: "  keyhold template delete salaries --dry-run",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			t, err := c.DeleteTemplate(ctx, args[0], a.with(ch)...)
			if err != nil {
				return err
			}
			return a.say(ch, templateChange{t, ch.dryRun}, "deleted template %s", t.Name)
		}),
		ValidArgsFunction: first(a.completeTemplates),
	}
	ch.flags(cmd)
	return cmd
}

// templatesMade is the JSON of the starter set after init.
type templatesMade struct {
	Templates []client.Template `json:"templates"` // that were stored
	Kept      []string          `json:"kept,omitempty"`
	DryRun    bool              `json:"dry_run,omitempty"`
}

func (a *app) templateInit() *cobra.Command {
	var ch change
	cmd := &cobra.Command{
		Use: "init [flags]", Short: "Store a set of templates to start with",
		Long: `Store a set of templates to start with: one for each of four classes of data, and for signing, MAC, wrapping, key agreement and post-quantum keys, with the
cryptoperiods that NIST SP 800-57 part 1 recommends. A template that exists already is kept as it is.`,
		Example: "  keyhold template init --dry-run\n  keyhold template init",
		Args:    cobra.NoArgs, ValidArgsFunction: fixed(),
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			made := templatesMade{Templates: []client.Template{}, DryRun: ch.dryRun}
			for _, t := range starterTemplates() {
				one := ch
				if one.token != "" {
					one.token += "/" + t.Name
				}
				stored, err := c.PutTemplate(ctx, t, true, a.with(one)...)
				switch {
				case client.CodeOf(err) == kms.CodeExists.String():
					made.Kept = append(made.Kept, t.Name)
				case err != nil:
					return err
				default:
					made.Templates = append(made.Templates, stored)
				}
			}
			said := fmt.Sprintf("stored %d templates", len(made.Templates))
			if len(made.Kept) > 0 {
				said += "; kept as they are: " + strings.Join(made.Kept, ", ")
			}
			return a.say(ch, made, "%s", said)
		}),
	}
	ch.flags(cmd)
	return cmd
}
