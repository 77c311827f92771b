package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/node"
	"github.com/keyhold/keyhold/internal/server"
)

func witnessCommand() *cobra.Command {
	var o node.WitnessOptions
	cmd := &cobra.Command{
		Use:     "witness --name NAME --dir DIR --log-key FILE [flags]",
		Short:   "Run a witness of other servers' audit logs",
		GroupID: "server",
		Long: `Run a witness: it cosigns a checkpoint of a log that it watches only if it extends the one before (C2SP tlog-witness), so that the log
cannot show different pasts, nor take back what it showed. Run it on another machine, under other administrators than the servers
that it watches. It needs their public audit keys and sees sizes and hashes, never records.

Its own key is made at the first start; the file witness.pub in DIR is what a server (audit.witnesses) and keyhold-verify (--witness) take. Keep
DIR: a witness that lost its state must not go on under its name and key, and does not start. GET /checkpoints answers the newest
checkpoint of every log, which keyhold-verify takes as --anchor.`,
		Example: "  keyhold witness --name witness.example/w1 --dir ./witness --log-key audit-key.txt",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := server.Harden(); err != nil {
				return fmt.Errorf("forbid core dumps: %w", err)
			}
			o.Log = logger(cmd.ErrOrStderr(), config.Default().Log)
			o.Ready = func(at net.Addr, key string) { o.Log.Info("witness_ready", "address", at.String(), "key", key) }
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return node.RunWitness(ctx, o)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&o.Name, "name", "", "name of its key, for example a host's name and a path; for ever")
	fl.StringVar(&o.Dir, "dir", "", "directory of its state")
	fl.StringVar(&o.Key, "key", "", "file of its key (default: witness.key in the directory)")
	fl.StringArrayVar(&o.LogKeys, "log-key", nil, "file of the verifier keys of logs to watch, one a line; may be repeated")
	fl.StringVar(&o.Listen, "listen", "127.0.0.1:7444", "address to listen on")
	fl.StringVar(&o.TLSCert, "tls-cert", "", "file of its certificate chain, PEM (default: an authority of its own in the directory)")
	fl.StringVar(&o.TLSKey, "tls-key", "", "file of the certificate's private key, PEM")
	fl.StringSliceVar(&o.TLSNames, "tls-name", nil, "further DNS names and IP addresses of the certificate that it issues to itself")
	fl.BoolVar(&o.AcceptEmptyState, "new-state", false, "begin with a key that is there and a state that is not")
	return cmd
}
