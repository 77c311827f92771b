package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/client/envelope"
)

func (o *output) flags(cmd *cobra.Command, standard string) {
	cmd.Flags().StringVar(&o.out, "out", "", "file to write, - for standard output; default: "+standard)
	cmd.Flags().BoolVar(&o.force, "force", false, "replace a file that is there")
	must(cmd.RegisterFlagCompletionFunc("out", files))
}

func (a *app) fileEncrypt() *cobra.Command {
	var to fileRecipients
	var pairs pairs
	var o output
	var passphrase string
	var share bool
	cmd := &cobra.Command{
		Use: "encrypt FILE... --key KEY [flags]", Short: "Encrypt files",
		Long: `Encrypt files (- is standard input) for one or more recipients: keys of the server, a passphrase, public keys. Each of them can open
the file. FILE stays as it is; the result is FILE` + fileSuffix + ` with the same permissions, which appears when it is whole.

The --context is readable in the file, authenticated with it, and shown to the server, whose policies can depend on it.`,
		Example: "  keyhold file encrypt --key orders backup.tar\n" +
			"  keyhold file encrypt --key orders --context store=17 --passphrase-file words.txt photo.jpg film.mp4\n" +
			"  keyhold file encrypt --recipient laptop.pub notes.txt --out notes.enc\n" +
			"  keyhold file encrypt --key orders - --out dump.sql" + fileSuffix,
		Args: cobra.MinimumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if len(to.keys)+len(to.public) == 0 && passphrase == "" {
				return usagef("for example --key orders, or --recipient or --passphrase-file", "nobody was named who can open the files")
			}
			key := envelope.KeyholdKey{Client: c, Options: a.options()}
			if share {
				cache, err := envelope.NewCache(c, envelope.Limits{})
				if err != nil {
					return err
				}
				defer cache.Close()
				key.Client, key.Cache = nil, cache
			}
			all, err := to.list(func(name string) envelope.Recipient {
				key.Key = name
				return key
			})
			if err != nil {
				return err
			}
			if passphrase != "" {
				p, err := a.secretText(passphrase, "passphrase", envelope.MaxPassphrase+2)
				if err != nil {
					return err
				}
				defer clear(p)
				all = append(all, envelope.Passphrase(p))
			}
			opt := envelope.Options{Recipients: all, Context: client.Context(pairs)}
			return a.fileWork(ctx, args, o.out, func(ctx context.Context, name string) (fileDone, error) { return a.encryptFile(ctx, name, o, opt) })
		}),
		ValidArgsFunction: files,
	}
	a.recipientFlags(cmd, &to, "key of the server: id, name or alias/NAME; can be repeated")
	cmd.Flags().StringVar(&passphrase, "passphrase-file", "", "file that holds a passphrase; -: ask on the terminal, or read standard input")
	must(cmd.RegisterFlagCompletionFunc("passphrase-file", files))
	pairs.flag(cmd, "context", "encryption context; can be repeated")
	cmd.Flags().BoolVar(&share, "share-data-key", false, "ask the server for one data key for all the files: faster, and it does not see the single file")
	o.flags(cmd, "FILE"+fileSuffix)
	return cmd
}

func (a *app) encryptFile(ctx context.Context, name string, o output, opt envelope.Options) (fileDone, error) {
	src, err := a.source(name, "encrypting")
	if err != nil {
		return fileDone{}, err
	}
	defer src.close()
	standard := name + fileSuffix
	if name == stdStream {
		standard = stdStream
	}
	dst, err := a.target(o, standard, "encrypted file", src.mode)
	if err != nil {
		return fileDone{}, err
	}
	in := &countedReader{Reader: src}
	info, err := envelope.Encrypt(ctx, dst, in, opt)
	if err != nil {
		return fileDone{}, dst.abandon(fileError(err, src.name))
	}
	return fileDone{src.name, dst.name, in.n, recipientsOf(info)}, dst.place()
}

func (a *app) fileDecrypt() *cobra.Command {
	var key string
	var ids identities
	var pairs pairs
	var o output
	cmd := &cobra.Command{
		Use: "decrypt FILE... [flags]", Short: "Decrypt what file encrypt made",
		Long: `Decrypt files (- is standard input). The header of a file names its keys: the server is asked to open the data key. With --identity or
--passphrase-file the server is not asked, unless --key is given too.

The result is FILE without ` + fileSuffix + `, with the same permissions. It appears when all of it was authenticated; of a file that was changed or
cut short nothing stays. On standard output (--out -) each part comes out when it was authenticated: do not use what came if the
status is not 0.`,
		Example: "  keyhold file decrypt backup.tar" + fileSuffix + " --out backup.new\n" +
			"  keyhold file decrypt --key orders --context store=17 photo.jpg" + fileSuffix + " --force\n" +
			"  keyhold file decrypt --passphrase-file words.txt film.mp4" + fileSuffix + " --out -\n" +
			"  keyhold file decrypt --identity laptop.key notes.enc --out notes.new",
		Args: cobra.MinimumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			all, err := a.localIdentities(ids)
			if err != nil {
				return err
			}
			if key != "" || !ids.any() {
				all = append(all, envelope.KeyholdKey{Client: c, Key: key, Options: a.options()})
			}
			opt := envelope.OpenOptions{Identities: all, Context: client.Context(pairs)}
			return a.fileWork(ctx, args, o.out, func(ctx context.Context, name string) (fileDone, error) { return a.decryptFile(ctx, name, o, opt) })
		}),
		ValidArgsFunction: files,
	}
	a.keyFlag(cmd, &key, "key, if it must be this one: id, name or alias/NAME")
	ids.flags(cmd)
	pairs.flag(cmd, "context", "entry that the file's encryption context must have; can be repeated")
	o.flags(cmd, "FILE without "+fileSuffix)
	return cmd
}

func (a *app) decryptFile(ctx context.Context, name string, o output, opt envelope.OpenOptions) (fileDone, error) {
	standard := o.out
	if standard == "" {
		var err error
		if standard, err = decryptedName(name); err != nil {
			return fileDone{}, err
		}
	}
	src, err := a.source(name, "decrypting")
	if err != nil {
		return fileDone{}, err
	}
	defer src.close()
	dst, err := a.target(o, standard, "decrypted file", src.mode)
	if err != nil {
		return fileDone{}, err
	}
	out := &counted{Writer: dst}
	info, err := envelope.Decrypt(ctx, out, src, opt)
	if err != nil {
		return fileDone{}, dst.abandon(fileError(err, src.name))
	}
	return fileDone{src.name, dst.name, out.n, recipientsOf(info)}, dst.place()
}
