package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
)

// maxMaterial is the most that is wrapped, in bytes; maxWrapped is more than it has wrapped, as base64 too.
const (
	maxMaterial = 4096
	maxWrapped  = 2*maxMaterial + 256
)

var wrapSchemes = []string{"aes-kwp", "aes-kw"}

func (a *app) wrapCommand() *cobra.Command {
	var in client.WrapKeyInput
	var e encoding
	cmd := &cobra.Command{
		Use: "wrap --key KEY [FILE] [flags]", Short: "Wrap key material as other systems read it", GroupID: groupUse,
		Long: `Wrap the key material in FILE, or standard input, of at most 4096 bytes: AES-KWP (RFC 5649), or AES-KW (RFC 3394) for multiples of
8 bytes. It is the form that HSMs and cryptographic libraries exchange. It names neither its key nor its version, and is bound to
no context: where nobody else needs to read it, use keyhold encrypt.`,
		Example: "  keyhold wrap --key transport partner.key --out partner.wrapped\n" +
			"  keyhold wrap --key transport --scheme aes-kw partner.key --base64",
		Args: cobra.MaximumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := needKey(in.Key); err != nil {
				return err
			}
			if err := wrapScheme(in.Scheme); err != nil {
				return err
			}
			if err := a.ready(e, "wrapped material"); err != nil {
				return err
			}
			data, _, err := a.read(args, maxMaterial)
			if err != nil {
				return err
			}
			defer clear(data)
			in.Material = data
			res, err := c.WrapKey(ctx, in, a.options()...)
			if err != nil {
				return err
			}
			return a.deliver(e, "wrapped material", res.Wrapped, res, res.KeyID, res.Version)
		}),
		ValidArgsFunction: first(files),
	}
	a.keyFlag(cmd, &in.Key, "key: id, name or alias/NAME")
	cmd.Flags().Uint32Var(&in.Version, "version", 0, "version of the key; 0: the primary version")
	choice(cmd, &in.Scheme, "scheme", "aes-kwp or aes-kw; default: aes-kwp", wrapSchemes)
	e.flags(cmd, "print base64")
	return cmd
}

func wrapScheme(s string) error {
	if s == "" {
		return nil
	}
	return oneOf("a scheme of wrapping", s, wrapSchemes)
}

func (a *app) unwrapCommand() *cobra.Command {
	var in client.UnwrapKeyInput
	var isBase64 bool
	var e encoding
	cmd := &cobra.Command{
		Use: "unwrap --key KEY [FILE] [flags]", Short: "Open wrapped key material", GroupID: groupUse,
		Long: `Open the wrapped key material in FILE, or standard input. It does not name the version of its key: without --version the primary
version is tried. The material goes to standard output or --out: use it, then erase it.`,
		Example: "  keyhold unwrap --key transport partner.wrapped --out partner.key\n" +
			"  keyhold unwrap --key transport --version 1 --scheme aes-kw partner.old --out partner.key",
		Args: cobra.MaximumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := needKey(in.Key); err != nil {
				return err
			}
			if err := wrapScheme(in.Scheme); err != nil {
				return err
			}
			if err := a.ready(e, "key material"); err != nil {
				return err
			}
			data, name, err := a.read(args, maxWrapped)
			if err != nil {
				return err
			}
			if isBase64 {
				if data, err = unbase64(name, data); err != nil {
					return err
				}
			}
			in.Wrapped = data
			res, err := c.UnwrapKey(ctx, in, a.options()...)
			if err != nil {
				return err
			}
			defer clear(res.Material)
			return a.deliver(e, "key material", res.Material, res, res.KeyID, res.Version)
		}),
		ValidArgsFunction: first(files),
	}
	a.keyFlag(cmd, &in.Key, "key: id, name or alias/NAME")
	cmd.Flags().Uint32Var(&in.Version, "version", 0, "version of the key that wrap named; 0: the primary version")
	choice(cmd, &in.Scheme, "scheme", "aes-kwp or aes-kw; default: aes-kwp", wrapSchemes)
	cmd.Flags().BoolVar(&isBase64, "from-base64", false, "the wrapped material is base64")
	e.flags(cmd, "print the material as base64")
	return cmd
}
