package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/client/envelope"
	"github.com/keyhold/keyhold/internal/kms"
)

// fileRewrapped is the JSON of one file whose recipients were changed.
type fileRewrapped struct {
	File   string          `json:"file"`
	Out    string          `json:"out"`
	Before []fileRecipient `json:"before"`
	After  []fileRecipient `json:"after"`
}

func (a *app) fileRewrap() *cobra.Command {
	var to fileRecipients
	var ids identities
	var o output
	var passphrase string
	var drop []string
	cmd := &cobra.Command{
		Use: "rewrap FILE... [flags]", Short: "Move files to the newest versions of their keys, or to other recipients",
		Long: `Change who can open files, without decrypting the data. Without flags, each file gets a data key of the newest version of the keys it has:
afterwards the old versions are not needed for it any more. --key puts other keys in the place of these; --recipient and
--new-passphrase-file add; --drop takes away. You must be able to open the file.

The file is replaced as a whole, or not at all; its data are copied as they are. Who could open it before, and kept a copy, still can.`,
		Example: "  keyhold file rewrap backup.tar" + fileSuffix + "\n" +
			"  keyhold file rewrap --key archive backup.tar" + fileSuffix + "\n" +
			"  keyhold file rewrap --recipient laptop.pub --drop passphrase photo.jpg" + fileSuffix + " film.mp4" + fileSuffix,
		Args: cobra.MinimumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if len(args) > 1 && o.out != "" || slices.Contains(args, stdStream) || o.out == stdStream {
				return usagef("without --out each file is replaced", "rewrap turns files into files, and --out names one")
			}
			key := envelope.KeyholdKey{Client: c, Options: a.options()}
			all, err := a.localIdentities(ids)
			if err != nil {
				return err
			}
			opt := envelope.RewrapOptions{Open: envelope.OpenOptions{Identities: append(all, key)}}
			if opt.Add, err = to.list(func(name string) envelope.Recipient {
				key := key
				key.Key = name
				return key
			}); err != nil {
				return err
			}
			if passphrase != "" {
				p, err := a.secretText(passphrase, "new passphrase", envelope.MaxPassphrase+2)
				if err != nil {
					return err
				}
				defer clear(p)
				opt.Add = append(opt.Add, envelope.Passphrase(p))
			}
			opt.Keep = func(r envelope.RecipientInfo) bool {
				return !(r.Kind == envelope.KindKeyhold && len(to.keys) > 0) && !(r.Kind == envelope.KindPassphrase && passphrase != "") && !dropped(r, drop)
			}
			return listing(a, "files", 0, func(yield func(fileRewrapped, error) bool) {
				for _, name := range args {
					if d, err := a.rewrapFile(ctx, name, o, opt, drop); !yield(d, err) || err != nil {
						return
					}
				}
			}, []string{"FILE", "OPENED BY"}, func(d fileRewrapped) []cell { return []cell{plain(d.Out), plain(d.openers())} })
		}),
		ValidArgsFunction: files,
	}
	a.recipientFlags(cmd, &to, "key of the server, in the place of those that the file has; can be repeated")
	ids.flags(cmd)
	cmd.Flags().StringVar(&passphrase, "new-passphrase-file", "", "file that holds the passphrase from now on")
	must(cmd.RegisterFlagCompletionFunc("new-passphrase-file", files))
	words(cmd, &drop, "drop", "recipient to take away: passphrase, a key's name or id, or a public key's fingerprint; can be repeated")
	cmd.Flags().StringVar(&o.out, "out", "", "file to write, instead of replacing FILE")
	cmd.Flags().BoolVar(&o.force, "force", false, "replace a file that is there, with --out")
	must(cmd.RegisterFlagCompletionFunc("out", files))
	return cmd
}

// openers are the recipients in one line.
func (d fileRewrapped) openers() string {
	var all []string
	for _, r := range d.After {
		switch {
		case r.KeyID != "":
			all = append(all, fmt.Sprintf("%s version %d", or(r.Key, r.KeyID), r.Version))
		default:
			all = append(all, strings.TrimSpace(r.Kind+" "+r.Fingerprint))
		}
	}
	return strings.Join(all, ", ")
}

// dropped tells whether a recipient is on the list.
func dropped(r envelope.RecipientInfo, drop []string) bool {
	return slices.ContainsFunc(drop, func(d string) bool { return names(d, r) })
}

func names(d string, r envelope.RecipientInfo) bool {
	switch r.Kind {
	case envelope.KindPassphrase:
		return d == "passphrase"
	case envelope.KindKeyhold:
		return d == r.Key || d == r.KeyID
	case envelope.KindPublicKey:
		return d == r.Fingerprint
	}
	return false
}

func (a *app) rewrapFile(ctx context.Context, name string, o output, opt envelope.RewrapOptions, drop []string) (fileRewrapped, error) {
	src, err := a.source(name, "rewrapping")
	if err != nil {
		return fileRewrapped{}, err
	}
	defer src.close()
	if o.out == "" {
		o.force = true // the file itself, wherever a link to it leads
		if o.out, err = filepath.EvalSymlinks(name); err != nil {
			return fileRewrapped{}, err
		}
	}
	dst, err := a.target(o, "", "encrypted file", src.mode)
	if err != nil {
		return fileRewrapped{}, err
	}
	if dst.file == nil || dst.file.path == "" {
		return fileRewrapped{}, dst.abandon(refusal(kms.CodeBadRequest, "name a file", "%s is not a file", o.out))
	}
	before, after, err := envelope.Rewrap(ctx, dst.Writer, src.Reader, opt) // two files: the system copies by itself
	if err == nil {
		err = unknownDrop(before, drop)
	}
	if err != nil {
		return fileRewrapped{}, dst.abandon(fileError(err, src.name))
	}
	return fileRewrapped{name, dst.name, recipientsOf(before), recipientsOf(after)}, dst.place()
}

// unknownDrop refuses a --drop that names nobody: a typing error must not pass for a change.
func unknownDrop(before envelope.Info, drop []string) error {
	for _, d := range drop {
		if !slices.ContainsFunc(before.Recipients, func(r envelope.RecipientInfo) bool { return names(d, r) }) {
			return refusal(kms.CodeBadRequest, "keyhold file info shows who can open the file", "%q is not one of its recipients", clip(d))
		}
	}
	return nil
}
