package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/seal/keyfile"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// Limits of what a custodian gives, in bytes.
const (
	maxShareText  = 4 << 10
	maxPassphrase = 4 << 10
	maxShares     = 255
)

// recipients are the flags that name what opens the root key besides shares.
type recipients struct {
	passphrase     bool
	passphraseFile string
	keyFile        string
}

func (r *recipients) flags(cmd *cobra.Command, use string) {
	f := cmd.Flags()
	f.BoolVar(&r.passphrase, "passphrase", false, use+" a passphrase, asked for on a terminal")
	f.StringVar(&r.passphraseFile, "passphrase-file", "", use+" the passphrase in this file")
	f.StringVar(&r.keyFile, "key-file", "", use+" the key file at this path")
	cmd.MarkFlagsMutuallyExclusive("passphrase", "passphrase-file")
}

// read gets passphrase and seed. A new passphrase is asked for twice.
func (r *recipients) read(a *app, twice bool) (passphrase, seed []byte, err error) {
	switch {
	case r.passphraseFile != "":
		if passphrase, err = a.secretText(r.passphraseFile, "passphrase", maxPassphrase); err != nil {
			return nil, nil, err
		}
	case r.passphrase:
		if !isTerminal(a.in) || !isTerminal(a.stderr) {
			return nil, nil, usagef("--passphrase-file names a file", "there is no terminal to ask for the passphrase")
		}
		if passphrase, err = a.hidden("passphrase"); err != nil {
			return nil, nil, err
		}
		if twice {
			again, err := a.hidden("once more")
			if err != nil {
				return nil, nil, err
			}
			if !bytes.Equal(passphrase, again) {
				return nil, nil, refusal(kms.CodeBadRequest, "run it again", "the two passphrases differ")
			}
		}
		if len(passphrase) == 0 {
			return nil, nil, refusal(kms.CodeBadRequest, "run it again", "the passphrase is empty")
		}
	}
	if r.keyFile != "" {
		s, err := keyfile.Read(r.keyFile)
		if err != nil {
			return nil, nil, err
		}
		defer s.Zero()
		seed = bytes.Clone(s.Reveal(reveal.Key{}))
	}
	return passphrase, seed, nil
}

func (a *app) operatorInit() *cobra.Command {
	var l local
	var ch change
	var r recipients
	var in client.InitInput
	var out string
	cmd := &cobra.Command{
		Use: "init [flags]", Short: "Make the root key of a new server",
		Long: `Make the root key of a new server and seal it to custodian shares, of which --threshold open it, and to a passphrase or key file as a further
recipient. Losing one recipient loses nothing, so give at least two.

The shares, the one-time code for the first administrator and the public key of the audit log are shown this once: on a terminal, or as files
of mode 0600 in a new directory (--out). Give each share to another person, and pin the audit key where auditors find it.`,
		Example: "  keyhold operator init --shares 5 --threshold 3 --passphrase-file recovery.txt --out shares",
		Args:    cobra.NoArgs, ValidArgsFunction: fixed(),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if in.Shares < 2 || in.Shares > maxShares || in.Threshold < 2 || in.Threshold > in.Shares {
			return usagef("for example --shares 5 --threshold 3", "%d shares of which %d open the root key are not possible: want 2 to %d shares, and a threshold from 2 to their number", in.Shares, in.Threshold, maxShares)
		}
		c, err := a.localClient(l)
		if err != nil {
			return err
		}
		defer c.Close()
		if out == "" && !ch.dryRun && (!isTerminal(a.stdout) || a.json()) {
			return usagef("--out DIR writes the shares to files that only you can read", "the shares are shown this once, and standard output is not a terminal that shows them to a person")
		}
		if in.Passphrase, in.KeyFile, err = r.read(a, true); err != nil {
			return err
		}
		defer clear(in.Passphrase)
		defer clear(in.KeyFile)
		if ch.dryRun {
			if _, err := c.Init(cmd.Context(), in, a.with(ch)...); err != nil {
				return err
			}
			return a.plan(cmd.Context(), c, fmt.Sprintf("a root key would be made and sealed to %d shares, of which %d open it", in.Shares, in.Threshold))
		}
		return a.initialise(cmd.Context(), c, in, out, ch)
	}
	f := cmd.Flags()
	f.Uint32Var(&in.Shares, "shares", 5, "custodian shares to make, 2 to 255")
	f.Uint32Var(&in.Threshold, "threshold", 3, "how many of them open the root key")
	f.StringVar(&out, "out", "", "new directory for the shares, the one-time code and the audit key")
	r.flags(cmd, "seal also to")
	l.flags(cmd)
	ch.once(cmd)
	return cmd
}

// initialised is the JSON of an initialisation: everything secret went to files.
type initialised struct {
	ClusterID string `json:"cluster_id"`
	Shares    int    `json:"shares"`
	Threshold int    `json:"threshold"`
	AuditKey  string `json:"audit_key"`
	Out       string `json:"out"`
	ExpiresAt string `json:"enrollment_expires_at"`
}

func (a *app) initialise(ctx context.Context, c *client.Client, in client.InitInput, out string, ch change) error {
	// What cannot be written must show before the root key is made, not after.
	var dir *shareDir
	if out != "" {
		var err error
		if dir, err = newShareDir(out, int(in.Shares)); err != nil {
			return err
		}
	}
	res, err := c.Init(ctx, in, a.with(ch)...)
	if err != nil {
		if dir != nil {
			err = errors.Join(err, dir.remove())
		}
		return err
	}
	if dir != nil {
		if err := dir.fill(res); err != nil {
			return refusal(kms.CodeStoreUnavailable, "start again with an empty data directory: without its shares this root key has no quorum",
				"the root key was made, but its shares could not be written: %v", err)
		}
		if a.json() {
			return a.writeJSON(initialised{res.ClusterID, len(res.Shares), int(in.Threshold), res.AuditKey, out, moment(res.Enrollment.ExpiresAt)})
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "initialised cluster %s: %d shares, %d of them open the root key\n", res.ClusterID, len(res.Shares), in.Threshold)
	if dir == nil {
		b.WriteString("\nThese are shown this once. Give each share to another person.\n\n")
		for i, s := range res.Shares {
			fmt.Fprintf(&b, "share %d:  %s\n", i+1, s)
		}
		fmt.Fprintf(&b, "\none-time code for the first administrator, until %s:\n  %s\n", moment(res.Enrollment.ExpiresAt), res.Enrollment.Code)
	} else {
		fmt.Fprintf(&b, "shares, one-time code (until %s) and audit key are in %s\n", moment(res.Enrollment.ExpiresAt), printable(out))
	}
	fmt.Fprintf(&b, "\naudit key (pin it): %s\n", printable(res.AuditKey))
	b.WriteString("next: keyhold operator unseal, once for each share, then keyhold operator enroll\n")
	_, err = io.WriteString(a.out, b.String())
	return err
}

// shareDir is the directory that the shares go to. Its files are made, with room for what they will hold, before there are shares.
type shareDir struct {
	path  string
	files []*os.File
	made  bool // the directory is ours to remove
}

// roomForShare is more than any of the files will hold, in bytes.
const roomForShare = 512

func shareName(i int) string { return fmt.Sprintf("share-%d.txt", i+1) }

func newShareDir(path string, shares int) (*shareDir, error) {
	d := &shareDir{path: path}
	switch err := os.Mkdir(path, 0o700); {
	case err == nil:
		d.made = true
	case !errors.Is(err, os.ErrExist):
		return nil, err
	}
	names := make([]string, 0, shares+2)
	for i := range shares {
		names = append(names, shareName(i))
	}
	for _, name := range append(names, "enrollment-code.txt", "audit-key.txt") {
		f, err := os.OpenFile(filepath.Join(path, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, os.ErrExist) {
			err = refusal(kms.CodeExists, "choose a new directory", "%s is there already, and may hold somebody's share", filepath.Join(path, name))
		}
		if err != nil {
			return nil, errors.Join(err, d.remove())
		}
		d.files = append(d.files, f)
		if _, err := f.Write(bytes.Repeat([]byte{' '}, roomForShare)); err != nil {
			return nil, errors.Join(err, d.remove())
		}
		if err := f.Sync(); err != nil {
			return nil, errors.Join(err, d.remove())
		}
	}
	return d, nil
}

// fill writes what init answered into the files.
func (d *shareDir) fill(res client.InitOutput) error {
	texts := append(append([]string(nil), res.Shares...), res.Enrollment.Code, res.AuditKey)
	if len(texts) != len(d.files) {
		return fmt.Errorf("the server answered %d shares, %d were asked for", len(res.Shares), len(d.files)-2)
	}
	for i, f := range d.files {
		text := texts[i] + "\n"
		if _, err := f.WriteAt([]byte(text), 0); err != nil {
			return err
		}
		if err := f.Truncate(int64(len(text))); err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	dir, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (d *shareDir) remove() error {
	var errs []error
	for _, f := range d.files {
		errs = append(errs, f.Close(), os.Remove(f.Name()))
	}
	if d.made {
		errs = append(errs, os.Remove(d.path))
	}
	return errors.Join(errs...)
}
