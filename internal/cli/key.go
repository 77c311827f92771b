package cli

import (
	"context"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
)

func (a *app) keyCommand() *cobra.Command {
	return group(groupKeys, "key", "Make keys and manage their life",
		`Make keys and manage their life. A key is named by its name, its id, or alias/NAME.

A key protects (encrypts, signs, makes MACs) with its primary version only and processes (decrypts, verifies) with
whichever version was used. Three words that are not the same: rotate makes a new version; reencrypt moves a
ciphertext to it; destroy ends all of it.`,
		a.keyCreate(), a.keyList(), a.keyShow(), a.keyVersions(), a.keyUpdate(), a.keyRotate(), a.keyRotation(), a.keyRotationReport(),
		a.keySwitch("enable", "Turn a disabled key on again", "The key works again as it did before it was disabled.", "enabled", (*client.Client).EnableKey),
		a.keySwitch("disable", "Turn a key off: it does nothing until it is enabled", "The key does nothing at all until it is enabled. Nothing is lost.", "disabled", (*client.Client).DisableKey),
		a.keySwitch("suspend", "Stop a key from protecting; it goes on processing", "The key encrypts, signs and makes MACs no more. It still decrypts and verifies.", "suspended", (*client.Client).SuspendKey),
		a.keySwitch("resume", "Let a suspended key protect again", "The key encrypts, signs and makes MACs again.", "resumed", (*client.Client).ResumeKey),
		a.keyActivate(), a.keyDeactivate(), a.keySuspendVersion(), a.keyResumeVersion(), a.keyArchive(), a.keyRecall(), a.keyCompromise(), a.keyDestroy(),
		a.keySwitch("cancel-destroy", "Save a key that is pending destruction", "The key is as it was before its destruction was asked for. This works until the last second of the window.", "saved", (*client.Client).CancelKeyDestruction),
		a.keyUsage(), a.keyAssess(), a.keyObserve(), a.keyRetire(), a.keyReceipt(), a.keyImport(), a.keyImportToken(), a.keyExport(), a.keyExpire(),
		a.keyPublic(), a.keyAlgorithms(), a.keyPolicyCommand(), a.grantCommand(),
	)
}

// keyChange is the JSON of a key after a change.
type keyChange struct {
	client.Key
	DryRun bool `json:"dry_run,omitempty"` // nothing was changed: this is how the key would be
}

// changed writes a key after a change.
func (a *app) changed(k client.Key, ch change, format string, args ...any) error {
	a.planned(ch)
	if a.json() {
		return a.writeJSON(keyChange{k, ch.dryRun})
	}
	said := fmt.Sprintf(format, args...)
	if ch.dryRun {
		said = "would be: " + said
	}
	_, err := fmt.Fprintln(a.out, printable(said))
	return err
}

func (a *app) keyCreate() *cobra.Command {
	var ch change
	var in client.CreateKeyInput
	var dates versionDates
	var labels pairs
	cmd := &cobra.Command{
		Use: "create NAME {--algorithm ALGORITHM | --template TEMPLATE | --class CLASS} [flags]", Short: "Make a key",
		Long: `Make a key with its first version, which becomes the primary version. A key serves one purpose for its whole life;
--usage is needed only where the algorithm can serve several (RSA). keyhold key algorithms shows them all.

A template says what the flags do not: keyhold template list shows them. Naming the class of the data takes the template of that class.`,
		Example: "  keyhold key create orders --algorithm aes-256-gcm\n" +
			"  keyhold key create release --algorithm ecdsa-p256 --label team=build --alias signing --description 'signs releases'\n" +
			"  keyhold key create archive --algorithm rsa-3072 --usage encrypt --dry-run\n" +
			"  keyhold key create sessions --algorithm hmac-sha-256 --bytes 64\n" +
			"  keyhold key create next-year --algorithm aes-256-gcm --activate-at 2099-01-01T00:00:00Z\n" +
			"  keyhold key create salaries --template confidential --label owner=hr --label purpose='salaries of all staff'",
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = a.call(func(ctx context.Context, c *client.Client, args []string) error {
		if in.Algorithm == "" && in.Template == "" && in.DataClass == "" {
			return usagef("for example --algorithm aes-256-gcm; keyhold key algorithms shows them all", "a key needs an algorithm, or a template that has one")
		}
		if in.Algorithm != "" {
			if err := oneOf("an algorithm", in.Algorithm, algorithms()); err != nil {
				return err
			}
		}
		if in.Usage != "" {
			if err := oneOf("a usage", in.Usage, usages()); err != nil {
				return err
			}
		}
		in.Name, in.Labels = args[0], labels
		in.Dates = dates.of()
		k, err := c.CreateKey(ctx, in, a.with(ch)...)
		if err != nil {
			return err
		}
		if k.Leaks != "" {
			fmt.Fprintf(a.stderr, "note: %s\n", printable(k.Leaks))
		}
		return a.changed(k, ch, "created key %s: %s, %s, version %d%s", k.Name, k.Algorithm, k.Usage, k.PrimaryVersion, idOf(k, ch))
	})
	cmd.ValidArgsFunction = fixed()
	choice(cmd, &in.Algorithm, "algorithm", "algorithm (keyhold key algorithms lists them)", algorithms())
	choice(cmd, &in.Usage, "usage", "purpose, where the algorithm can serve several: encrypt or sign", usages())
	cmd.Flags().Uint32Var(&in.Bytes, "bytes", 0, "HMAC keys: bytes of key material, 16 to 512 (default: as long as the hash)")
	labels.flag(cmd, "label", "label; can be repeated")
	words(cmd, &in.Aliases, "alias", "further name; can be repeated")
	a.templateFlag(cmd, &in.Template, "template that says what these flags do not")
	cmd.Flags().StringVar(&in.DataClass, "class", "", "classification of the data that the key will protect; its template, if it has one, says what these flags do not")
	cmd.Flags().StringVar(&in.Description, "description", "", "free text, at most 8,192 bytes")
	dates.flags(cmd, "the first version")
	cmd.Flags().BoolVar(&in.Freeze, "freeze", false, "preset: while the key or a version is suspended, it does not process either")
	cmd.Flags().BoolVar(&in.ProcessDeactivated, "process-deactivated", false, "preset: deactivated versions go on processing")
	cmd.Flags().BoolVar(&in.Exportable, "exportable", false, "its material may leave, wrapped (keyhold key export); cannot be changed later")
	ch.flags(cmd)
	return cmd
}

// idOf names the id; the id of a dry run belongs to nothing.
func idOf(k client.Key, ch change) string {
	if ch.dryRun {
		return ""
	}
	return ", id " + k.ID
}

func (a *app) keyList() *cobra.Command {
	var f client.KeyFilter
	var labels pairs
	var limit int
	cmd := &cobra.Command{
		Use: "list [PREFIX] [flags]", Short: "List the keys you may see",
		Long: "List the keys of the namespace that you may see, in order of creation. With PREFIX: those whose name begins so.",
		Example: "  keyhold key list\n" +
			"  keyhold key list payroll/ --state enabled\n" +
			"  keyhold key list --label team=build -o json",
		Args: cobra.MaximumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			for _, v := range []struct {
				what, value string
				known       []string
			}{{"an algorithm", f.Algorithm, algorithms()}, {"a usage", f.Usage, usages()}, {"a state of a key", f.State, switches()}} {
				if v.value == "" {
					continue
				}
				if err := oneOf(v.what, v.value, v.known); err != nil {
					return err
				}
			}
			if len(args) > 0 {
				f.NamePrefix = args[0]
			}
			f.Labels = labels
			return listing(a, "keys", limit, c.ListKeys(ctx, f, a.options()...),
				[]string{"NAME", "ALGORITHM", "USAGE", "STATE", "VERSION", "CREATED", "ID"}, func(k client.Key) []cell {
					return []cell{plain(k.Name), plain(k.Algorithm), plain(k.Usage), state(k.State), plain(versionsOf(k)), plain(moment(k.CreatedAt)), plain(k.ID)}
				})
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	choice(cmd, &f.Algorithm, "algorithm", "only keys of this algorithm", algorithms())
	choice(cmd, &f.Usage, "usage", "only keys of this purpose: "+strings.Join(usages(), ", "), usages())
	choice(cmd, &f.State, "state", "only keys whose switch stands so: "+strings.Join(switches(), ", "), switches())
	labels.flag(cmd, "label", "only keys with this label; can be repeated: all must match")
	limitFlag(cmd, &limit, 0)
	return cmd
}

func limitFlag(cmd *cobra.Command, to *int, most int) {
	cmd.Flags().IntVar(to, "limit", most, "show at most so many; 0: all")
}

// versionsOf shows the primary version, and the newest one where it is another.
func versionsOf(k client.Key) string {
	if k.LatestVersion == k.PrimaryVersion {
		return strconv.Itoa(int(k.PrimaryVersion))
	}
	return fmt.Sprintf("%d of %d", k.PrimaryVersion, k.LatestVersion)
}

func (a *app) keyShow() *cobra.Command {
	return &cobra.Command{
		Use: "show KEY", Short: "Show a key and its newest versions",
		Example: "  keyhold key show orders\n  keyhold key show alias/signing -o json",
		Long:    "Show a key's metadata and its newest versions, at most 20; keyhold key versions lists them all.",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			k, err := c.DescribeKey(ctx, args[0], a.options()...)
			if err != nil {
				return err
			}
			if a.json() {
				return a.writeJSON(k)
			}
			err = a.facts(
				fact{"name", plain(k.Name)}, fact{"id", plain(k.ID)}, fact{"namespace", plain(k.Namespace)}, fact{"aliases", plain(strings.Join(k.Aliases, ", "))},
				fact{"algorithm", plain(k.Algorithm)}, fact{"usage", plain(k.Usage)}, fact{"bytes", plain(bytesOf(k))}, fact{"leaks", plain(k.Leaks)},
				fact{"origin", plain(k.Origin)}, fact{"regions", plain(regionsOf(k))}, fact{"exportable", plain(yesOrNothing(k.Exportable))}, fact{"state", state(k.State)},
				fact{"primary version", plain(versionsOf(k))}, fact{"next primary version", plain(nextOf(k))}, fact{"presets", plain(presetsOf(k))}, fact{"description", plain(k.Description)}, fact{"labels", plain(labelsOf(k.Labels))},
				fact{"data class", plain(k.DataClass)}, fact{"template", plain(k.Template)},
				fact{"rotation", plain(periodOf(k))}, fact{"rotated", plain(moment(k.RotatedAt))},
				fact{"created", plain(moment(k.CreatedAt))}, fact{"changed", plain(moment(k.ChangedAt))},
				fact{"to be destroyed", cell{moment(k.DestroyAt), red}}, fact{"destroyed", cell{moment(k.DestroyedAt), red}},
				fact{"irrecoverable since", cell{moment(k.IrrecoverableAt), red}},
				fact{"revision", plain(strconv.FormatUint(k.Revision, 10))},
			)
			if err != nil || len(k.Versions) == 0 {
				return err
			}
			if _, err := fmt.Fprintln(a.out); err != nil {
				return err
			}
			return listing(a, "versions", 0, each(k.Versions), versionHeads, versionRow)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
}

// regionsOf is where a key answers, if not everywhere: its home first.
func regionsOf(k client.Key) string {
	all := k.HomeRegion
	for _, r := range k.Replicas {
		all += ", " + r.Region + " (" + r.State + ")"
	}
	return all
}

// bytesOf is the length of a key's material where the algorithm leaves a choice; else empty.
func bytesOf(k client.Key) string {
	if k.Bytes == 0 {
		return ""
	}
	return strconv.Itoa(int(k.Bytes))
}

func labelsOf(labels map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		all = append(all, name+"="+labels[name])
	}
	return strings.Join(all, ", ")
}

func (a *app) keyVersions() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "versions KEY [flags]", Short: "List all versions of a key, newest first",
		Long:    "List all versions of a key, newest first, each with its state by NIST SP 800-57.",
		Example: "  keyhold key versions orders\n  keyhold key versions orders --limit 1 -o json",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			return listing(a, "versions", limit, c.ListVersions(ctx, args[0], a.options()...), versionHeads, versionRow)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	limitFlag(cmd, &limit, 0)
	return cmd
}

func (a *app) keyUpdate() *cobra.Command {
	var ch change
	var in client.UpdateKeyInput
	var name, description, class string
	var freeze, process bool
	var labels pairs
	cmd := &cobra.Command{
		Use: "update KEY [flags]", Short: "Change a key's name, description, data class, labels, aliases and presets",
		Long: "Change a key's name, description, data class, labels, aliases and presets. What is not named stays as it is. The id never changes.",
		Example: "  keyhold key update orders --label owner=sales --add-alias shop\n" +
			"  keyhold key update orders --rename shop/orders --reason 'moved to the shop team'",
		Args: cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	cmd.RunE = a.call(func(ctx context.Context, c *client.Client, args []string) error {
		in.Key, in.SetLabels = args[0], labels
		if f.Changed("rename") {
			in.Name = &name
		}
		if f.Changed("description") {
			in.Description = &description
		}
		if f.Changed("freeze") {
			in.Freeze = &freeze
		}
		if f.Changed("process-deactivated") {
			in.ProcessDeactivated = &process
		}
		if f.Changed("class") {
			in.DataClass = &class
		}
		if in.Name == nil && in.Description == nil && in.DataClass == nil && in.Freeze == nil && in.ProcessDeactivated == nil && len(in.SetLabels)+len(in.RemoveLabels)+len(in.AddAliases)+len(in.RemoveAliases) == 0 {
			return usagef(helpOf(cmd), "nothing to change was named")
		}
		k, err := c.UpdateKey(ctx, in, a.with(ch)...)
		if err != nil {
			return err
		}
		return a.changed(k, ch, "updated key %s: revision %d", k.Name, k.Revision)
	})
	f.StringVar(&name, "rename", "", "new name")
	f.StringVar(&description, "description", "", "new description; empty removes it")
	f.StringVar(&class, "class", "", "classification of the data that the key protects; empty removes it")
	labels.flag(cmd, "label", "label to set; can be repeated")
	words(cmd, &in.RemoveLabels, "remove-label", "name of a label to remove; can be repeated")
	words(cmd, &in.AddAliases, "add-alias", "alias to add; can be repeated")
	words(cmd, &in.RemoveAliases, "remove-alias", "alias to remove; can be repeated")
	f.BoolVar(&freeze, "freeze", false, "preset: while the key or a version is suspended, it does not process either; --freeze=false lifts it")
	f.BoolVar(&process, "process-deactivated", false, "preset: deactivated versions go on processing; --process-deactivated=false lifts it")
	f.Uint64Var(&in.IfRevision, "if-revision", 0, "change only if the key still has this revision")
	ch.flags(cmd)
	cmd.ValidArgsFunction = first(a.completeKeys)
	return cmd
}

type keyMethod = func(*client.Client, context.Context, string, ...client.Option) (client.Key, error)

// keySwitch is a command that does one thing to a key.
func (a *app) keySwitch(name, short, long, done string, method keyMethod) *cobra.Command {
	var ch change
	cmd := &cobra.Command{
		Use: name + " KEY [flags]", Short: short, Long: long, Example: "  keyhold key " + name + " orders",
		Args: cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			k, err := method(c, ctx, args[0], a.with(ch)...)
			if err != nil {
				return err
			}
			return a.changed(k, ch, "%s key %s: it is %s", done, k.Name, k.State)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	ch.flags(cmd)
	return cmd
}

func (a *app) keyDestroy() *cobra.Command {
	var ch change
	var window days
	var yes bool
	cmd := &cobra.Command{
		Use: "destroy KEY [flags]", Short: "Start the waiting time after which a key is destroyed",
		Long: `Start the waiting time after which a key is destroyed with all its versions. The key does nothing from now on; until
the window ends, keyhold key cancel-destroy saves it. What it encrypted can never be read again after that.

It first shows, on standard error, what that would reach (keyhold key assess); afterwards keyhold key observe shows who misses the key. It asks first on a terminal; without a terminal it needs --yes.`,
		Example: "  keyhold key destroy orders --window 30d --yes",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := a.askable(yes || ch.dryRun); err != nil {
				return err
			}
			report, err := c.AssessKey(ctx, args[0], a.with(ch.apart())...)
			if err != nil {
				return err
			}
			a.warn(reportFacts(report)...)
			if err := a.confirm(yes || ch.dryRun, fmt.Sprintf("Destroy the key %q after its waiting time? What it encrypted will be lost.", args[0])); err != nil {
				return err
			}
			k, err := c.ScheduleKeyDestruction(ctx, args[0], time.Duration(window), a.with(ch)...)
			if err != nil {
				return err
			}
			return a.changed(k, ch, "key %s does nothing from now on and will be destroyed at %s; until then keyhold key cancel-destroy %s saves it", k.Name, moment(k.DestroyAt), k.Name)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	cmd.Flags().Var(&window, "window", "waiting time, for example 30d (default: 30d; at least 7d outside development)")
	yesFlag(cmd, &yes)
	ch.flags(cmd)
	return cmd
}

func yesFlag(cmd *cobra.Command, to *bool) {
	cmd.Flags().BoolVarP(to, "yes", "y", false, "do not ask")
}

func (a *app) keyPublic() *cobra.Command {
	var version uint32
	var out string
	cmd := &cobra.Command{
		Use: "public KEY [flags]", Short: "Print the public half of an asymmetric key (PEM)",
		Long:    "Print the public half of an asymmetric key as PEM (SubjectPublicKeyInfo), which openssl and every library reads.",
		Example: "  keyhold key public release\n  keyhold key public release --out release.pem",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			p, err := c.GetPublicKey(ctx, args[0], version, a.options()...)
			if err != nil {
				return err
			}
			text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: p.DER})
			if out != "" {
				if err := writeFile(out, text, 0o644); err != nil {
					return err
				}
			}
			if a.json() {
				return a.writeJSON(p)
			}
			if out == "" {
				_, err = a.out.Write(text)
			}
			return err
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	cmd.Flags().Uint32Var(&version, "version", 0, "version; 0: the primary version")
	cmd.Flags().StringVar(&out, "out", "", "file to write to")
	return cmd
}

// algorithmInfo is the JSON of one algorithm.
type algorithmInfo struct {
	Name     string   `json:"name"`
	Bits     int      `json:"bits"`
	Strength int      `json:"strength"` // bits of security, SP 800-57 part 1 table 2
	Usages   []string `json:"usages"`
	Schemes  []string `json:"schemes"`
	Leaks    string   `json:"leaks,omitempty"` // what ciphertexts show, for deterministic algorithms
}

func (a *app) keyAlgorithms() *cobra.Command {
	return &cobra.Command{
		Use: "algorithms", Short: "List the algorithms that keys can have",
		Long:    "List the algorithms that this version knows, with their security strength (NIST SP 800-57), purposes and schemes. It asks no server.",
		Example: "  keyhold key algorithms\n  keyhold key algorithms -o json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			var all []algorithmInfo
			for _, alg := range kms.AllAlgorithms() {
				f := alg.Facts()
				i := algorithmInfo{Name: f.Name, Bits: f.Bits, Strength: f.Strength, Usages: named(alg.Usages()), Leaks: f.Leaks}
				for _, s := range f.Schemes {
					i.Schemes = append(i.Schemes, s.Scheme.String())
				}
				all = append(all, i)
			}
			return listing(a, "algorithms", 0, each(all), []string{"NAME", "BITS", "STRENGTH", "USAGE", "SCHEMES"}, func(i algorithmInfo) []cell {
				return []cell{plain(i.Name), plain(strconv.Itoa(i.Bits)), plain(strconv.Itoa(i.Strength)), plain(strings.Join(i.Usages, ", ")), plain(strings.Join(i.Schemes, ", "))}
			})
		},
		ValidArgsFunction: fixed(),
	}
}
