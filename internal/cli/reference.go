package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const referenceHead = `# Command line

<!-- Written by keyhold reference; a test compares the two. -->

`

const referenceErrors = `
## Errors and exit status

An error goes to standard error and says what happened, with its code (docs/errors.md), why, and what to do next:

` + "```" + `
keyhold key show: key not found (KH1301)
  why:  there is no key "nope" in this namespace
  next: keyhold key list shows the keys you may see
` + "```" + `

A denial also names its decision, which ` + "`keyhold policy explain`" + ` takes. Exit status: 0 done; 1 refused or failed, or the answer is no (` +
	"`policy can-i`, `store check`, `audit verify`, `doctor`, `config check`" + `); 2 wrong usage.

## Terminals and scripts

- Results go to standard output, everything else to standard error. With ` + "`-o json`" + ` the result is one JSON value of the form shown with each command;
  fields are only ever added, a field with ` + "`?`" + ` may be missing, times are RFC 3339, binary data base64. Listings are objects with one list and ` + "`more`" + `.
- Nothing is asked without a terminal. What cannot be taken back asks on a terminal, and needs ` + "`--yes`" + ` without one.
- Binary output is not written to a terminal: ` + "`--out FILE`, `--base64` or `-o json`" + `.
- Colours and progress bars appear on terminals only; ` + "`NO_COLOR`" + ` switches colours off.
- ` + "`--dry-run`" + ` goes the server's own way up to the change, with all its checks, and stops there. For init, unseal, enroll and mint, which are about
  secrets, it sends nothing but a question for the server's condition.

## Environment

| variable | flag | meaning |
|---|---|---|
| ` + "`KEYHOLD_ADDR`" + ` | ` + "`--addr`" + ` | server: ` + "`https://HOST:PORT` or `unix:///PATH`" + `; default ` + "`https://127.0.0.1:7443`" + ` |
| ` + "`KEYHOLD_TOKEN`" + ` | | the token itself |
| ` + "`KEYHOLD_TOKEN_FILE`" + ` | ` + "`--token-file`" + ` | file that holds the token |
| ` + "`KEYHOLD_CACERT`" + ` | ` + "`--cacert`" + ` | file of the authority that the server's certificate must come from |
| ` + "`KEYHOLD_CLIENT_CERT`, `KEYHOLD_CLIENT_KEY`" + ` | ` + "`--client-cert`, `--client-key`" + ` | TLS client certificate |
| ` + "`KEYHOLD_NAMESPACE`" + ` | ` + "`--namespace`, `-n`" + ` | namespace; default: the caller's own |
| ` + "`KEYHOLD_SOCKET`" + ` | ` + "`--socket`" + ` | the server's local socket, for the operator's commands |

`

// referenceCommand writes docs/cli.md.
func (a *app) referenceCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reference", Short: "Print this reference as Markdown", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(a.out, reference(cmd.Root()))
			return err
		},
	}
}

func reference(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(referenceHead + root.Long + "\n" + referenceErrors)
	b.WriteString("## Flags of every command\n\n" + flagTable(root.PersistentFlags()))
	shown := map[string]string{} // which command shows a form first
	for _, g := range root.Groups() {
		fmt.Fprintf(&b, "\n## %s\n", strings.TrimSuffix(g.Title, ":"))
		for _, c := range root.Commands() {
			if c.GroupID == g.ID && c.IsAvailableCommand() && c.Name() != "help" {
				section(&b, c, shown)
			}
		}
	}
	return b.String()
}

func section(b *strings.Builder, c *cobra.Command, shown map[string]string) {
	fmt.Fprintf(b, "\n### %s\n\n%s\n", c.CommandPath(), strings.TrimSpace(or(c.Long, c.Short)))
	if !holdsOthers(c) {
		fmt.Fprintf(b, "\n    %s\n", c.UseLine())
		if c.Example != "" {
			b.WriteString("\nExamples:\n\n```\n")
			for line := range strings.Lines(c.Example) {
				b.WriteString(strings.TrimPrefix(line, "  "))
			}
			b.WriteString("\n```\n")
		}
		if t := flagTable(c.LocalNonPersistentFlags()); t != "" {
			b.WriteString("\n" + t)
		}
		if s, ok := schemas()[c.CommandPath()]; ok {
			form := schema(s)
			if first := shown[form]; first != "" {
				fmt.Fprintf(b, "\nJSON: as of `%s`.\n", first)
			} else {
				fmt.Fprintf(b, "\nJSON:\n\n```\n%s\n```\n", form)
				shown[form] = c.CommandPath()
			}
		}
	}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			section(b, sub, shown)
		}
	}
}

func flagTable(flags *pflag.FlagSet) string {
	var b strings.Builder
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if b.Len() == 0 {
			b.WriteString("| flag | default | meaning |\n|---|---|---|\n")
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name += ", `-" + f.Shorthand + "`"
		}
		standard := ""
		if f.DefValue != "" && f.DefValue != "[]" && f.DefValue != "0" && f.DefValue != "false" {
			standard = "`" + f.DefValue + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, standard, strings.ReplaceAll(f.Usage, "|", "\\|"))
	})
	return b.String()
}
