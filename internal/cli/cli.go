package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit statuses.
const (
	exitOK      = 0
	exitFailure = 1 // a refusal or failure
	exitUsage   = 2 // wrong usage
)

// Config says what the command line works with.
type Config struct {
	Stdin, Stdout, Stderr *os.File
	Getenv                func(string) string
	Environ               []string
	Version               string
	// Commands stand beside the commands of this package; their GroupID is one of them ("server" for what runs a server).
	Commands []*cobra.Command
}

// app is what the commands share.
type app struct {
	in      *os.File
	stdout  *os.File
	stderr  *os.File
	out     io.Writer // stdout; a failure to write is noticed
	getenv  func(string) string
	environ []string
	version string
	flags   globals
}

// Run carries out one command line and answers the exit status.
func Run(cfg Config, args []string) int {
	a := &app{
		in: cfg.Stdin, stdout: cfg.Stdout, stderr: cfg.Stderr, out: cfg.Stdout,
		getenv: cfg.Getenv, environ: cfg.Environ, version: cfg.Version,
	}
	root := a.root(cfg.Commands)
	root.SetArgs(args)
	root.SetIn(cfg.Stdin)
	root.SetOut(cfg.Stdout)
	root.SetErr(cfg.Stderr)
	// A second signal ends the process at once, by the system's own handling.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	cmd, err := root.ExecuteContextC(ctx)
	if err = a.asked(err); err != nil {
		return a.report(cmd, err)
	}
	return exitOK
}

// The groups of commands in the help.
const (
	groupUse    = "use"
	groupKeys   = "keys"
	groupAccess = "access"
	groupServer = "server"
	groupMore   = "more"
)

const rootLong = `Keyhold keeps encryption keys: it makes them, uses them on your behalf, and records every use.

The client commands find the server by KEYHOLD_ADDR (--addr), trust the authority in KEYHOLD_CACERT (--cacert), and show
the token in KEYHOLD_TOKEN or in the file KEYHOLD_TOKEN_FILE (--token-file). Results go to standard output; -o json gives
them a stable form. Exit status: 0 done, 1 refused or failed, 2 wrong usage.`

const orientation = `Keyhold keeps encryption keys: it makes them, uses them on your behalf, and records every use.

Try it on this machine:
  keyhold server --dev --data ./dev              a development server; leave it running
  set -a; . ./dev/dev.env; set +a                in another terminal: address, token, CA
  keyhold key create orders --algorithm aes-256-gcm
  keyhold encrypt --key orders README.md --out README.enc
  keyhold decrypt README.enc
  keyhold audit list                             what happened, and who did it

More:
  keyhold doctor                                 what is wrong, and how to put it right
  keyhold --help                                 all commands
  keyhold COMMAND --help                         one command, with examples
`

func (a *app) root(more []*cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:           "keyhold",
		Short:         "Encryption key management",
		Long:          rootLong,
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			_, err := io.WriteString(a.out, orientation)
			return err
		},
	}
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.SuggestionsMinimumDistance = 2
	root.AddGroup(
		&cobra.Group{ID: groupUse, Title: "Use keys:"},
		&cobra.Group{ID: groupKeys, Title: "Manage keys and read the trail:"},
		&cobra.Group{ID: groupAccess, Title: "Say who may do what:"},
		&cobra.Group{ID: groupServer, Title: "Run the server:"},
		&cobra.Group{ID: groupMore, Title: "More:"},
	)
	root.SetHelpCommandGroupID(groupMore)
	root.SetCompletionCommandGroupID(groupMore)
	a.globalFlags(root)
	root.AddCommand(
		a.encryptCommand(), a.decryptCommand(), a.reencryptCommand(), a.datakeyCommand(), a.datakeypairCommand(), a.fileCommand(),
		a.signCommand(), a.verifyCommand(), a.macCommand(), a.randomCommand(),
		a.deriveCommand(), a.encapsulateCommand(), a.decapsulateCommand(), a.wrapCommand(), a.unwrapCommand(), a.formatCommand(),
		a.campaignCommand(), a.rewrapCommand(),
		a.keyCommand(), a.migrateCommand(), a.inventoryCommand(), a.auditCommand(),
		a.templateCommand(),
		a.policyCommand(), a.tokenCommand(), a.credentialCommand(), a.namespaceCommand(), a.approvalCommand(), a.whoamiCommand(),
		a.operatorCommand(), a.storeCommand(), a.jobsCommand(), a.doctorCommand(), a.configCommand(),
		a.versionCommand(), a.referenceCommand(),
	)
	root.AddCommand(more...)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	prepare(root)
	return root
}

// prepare makes every command's wrong usage an error of usage, with the nearest match.
func prepare(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(flagError)
	cmd.DisableFlagsInUseLine = true
	if args := cmd.Args; args != nil && !holdsOthers(cmd) {
		cmd.Args = func(cmd *cobra.Command, given []string) error {
			if err := args(cmd, given); err != nil {
				return wrongArguments(cmd, err)
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		prepare(c)
	}
}

// group is a command that only holds others.
func group(id, use, short, long string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use + " COMMAND", Short: short, Long: long, GroupID: id, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	c.AddCommand(commands...)
	return c
}

// holdsOthers tells whether a command does nothing by itself. One that does something, and has others, has an example.
func holdsOthers(c *cobra.Command) bool { return c.HasSubCommands() && c.Example == "" }

// errAnswered ends a command whose output said all there is to say, with status 1.
var errAnswered = errors.New("answered")
