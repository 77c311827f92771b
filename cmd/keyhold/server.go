package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/node"
	"github.com/keyhold/keyhold/internal/server"
)

// serverFlags are what `keyhold server` takes.
type serverFlags struct {
	config, data, listen string
	dev, restore, roll   bool
}

func serverCommand(version string) *cobra.Command {
	var f serverFlags
	cmd := &cobra.Command{
		Use:     "server",
		Short:   "Run the key server",
		GroupID: "server",
		Long: `Run the key server until it is told to stop (SIGINT or SIGTERM); requests under way are answered first.

In production it starts sealed: initialise it once with "keyhold operator init", and unseal it after each start with
"keyhold operator unseal". With --dev it initialises and unseals itself from a key file in its data directory, writes
everything a client needs to dev.env there, and listens on loopback only. A development store stays one for ever.`,
		Example: "  keyhold server --config /etc/keyhold.yaml\n  keyhold server --dev --data ./dev",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runServer(cmd, f, version) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.config, "config", "", "configuration file; keyhold config check FILE tests it")
	fl.BoolVar(&f.dev, "dev", false, "development: initialise and unseal from a key file, on loopback only")
	fl.StringVar(&f.data, "data", "", "data directory (overrides the configuration)")
	fl.StringVar(&f.listen, "listen", "", "address to listen on (overrides the configuration)")
	fl.BoolVar(&f.restore, "accept-restore", false, "accept, on the record, a store that is behind its audit log: a deliberate restore")
	fl.BoolVar(&f.roll, "roll-altered-log", false, "begin a new log, on the record, behind one that was altered")
	return cmd
}

func runServer(cmd *cobra.Command, f serverFlags, version string) error {
	if err := server.Harden(); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	server.TuneMemory(os.Getenv)
	set, err := config.Load(f.config, os.Environ(), f.overrides()...)
	if err != nil {
		return err
	}
	if f.dev {
		if f.data == "" {
			return kms.Errorf(kms.CodeBadSetting, "a development server needs a data directory of its own: --data DIR")
		}
		if err := node.CheckDev(set.Listen); err != nil {
			return err
		}
		fmt.Fprintln(cmd.ErrOrStderr(), "keyhold: DEVELOPMENT server: unsealed from a key file beside its data, separation of duties off. Not for secrets that matter.")
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	n, err := node.Open(ctx, node.Options{
		Settings: set, Dev: f.dev, AcceptRestore: f.restore, RollAlteredLog: f.roll, Version: version, Log: logger(cmd.ErrOrStderr(), set.Log),
	})
	if err != nil {
		return err
	}
	if err := n.Run(ctx); err != nil && !errors.Is(err, ctx.Err()) {
		return err
	}
	return nil
}

func (f serverFlags) overrides() []config.Override {
	var all []config.Override
	if f.data != "" {
		all = append(all, config.Override{Name: "data_dir", Value: f.data, Flag: "--data"})
	}
	if f.listen != "" {
		all = append(all, config.Override{Name: "listen", Value: f.listen, Flag: "--listen"})
	}
	return all
}

func logger(to io.Writer, set config.Log) *slog.Logger {
	opt := &slog.HandlerOptions{Level: set.Level}
	if set.Format == "json" {
		return slog.New(slog.NewJSONHandler(to, opt))
	}
	return slog.New(slog.NewTextHandler(to, opt))
}
