package cli

import (
	"context"
	"encoding/pem"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
)

func (a *app) datakeypairCommand() *cobra.Command {
	var in client.GenerateDataKeyPairInput
	var pairs pairs
	var encrypted, public, out string
	cmd := &cobra.Command{
		Use: "datakeypair --key KEY --algorithm ALGORITHM --encrypted FILE [flags]", Short: "Make a key pair that the server does not keep", GroupID: groupUse,
		Long: `Make a key pair. The private key's encryption under KEY goes to the file of --encrypted: keep it; keyhold decrypt opens it (DER,
PKCS #8). The private key itself goes to standard output or --out (PEM): use it, then erase it. The public key goes to the file of
--public (PEM).

With --without-plaintext the private key is not shown at all, and the public key goes to standard output unless --public is given.`,
		Example: "  keyhold datakeypair --key orders --algorithm ecdsa-p256 --encrypted device.enc --public device.pub --out device.pem\n" +
			"  keyhold datakeypair --key orders --algorithm x25519 --encrypted later.enc --without-plaintext",
		Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			if err := needKey(in.Key); err != nil {
				return err
			}
			if in.Algorithm == "" {
				return usagef("for example --algorithm ecdsa-p256", "a key pair needs an algorithm")
			}
			if err := oneOf("an algorithm of key pairs", in.Algorithm, pairAlgorithms()); err != nil {
				return err
			}
			if encrypted == "" && (!a.json() || out != "") {
				return usagef("--encrypted FILE keeps it, -o json prints all", "without the encrypted private key the pair cannot be kept")
			}
			if in.WithoutPlaintext && out != "" {
				return usagef("--public FILE is for the public key", "--out is for the private key, which --without-plaintext leaves out")
			}
			in.Context = client.Context(pairs)
			res, err := c.GenerateDataKeyPair(ctx, in, a.options()...)
			if err != nil {
				return err
			}
			defer clear(res.PrivateKey)
			if encrypted != "" {
				if err := writeFile(encrypted, res.PrivateKeyCiphertext, 0o600); err != nil {
					return err
				}
			}
			publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: res.PublicKey})
			if public != "" {
				if err := writeFile(public, publicPEM, 0o644); err != nil {
					return err
				}
			}
			return a.deliverPair(res, publicPEM, public, out)
		}),
		ValidArgsFunction: fixed(),
	}
	a.keyFlag(cmd, &in.Key, "key that encrypts the private key: id, name or alias/NAME")
	choice(cmd, &in.Algorithm, "algorithm", "algorithm of the pair (keyhold key algorithms lists them)", pairAlgorithms())
	pairs.flag(cmd, "context", "encryption context; can be repeated")
	cmd.Flags().BoolVar(&in.WithoutPlaintext, "without-plaintext", false, "do not show the private key")
	for _, f := range []struct {
		to         *string
		name, help string
	}{
		{&encrypted, "encrypted", "file for the encrypted private key"},
		{&public, "public", "file for the public key (PEM)"},
		{&out, "out", "file for the private key (PEM, mode 0600), instead of standard output"},
	} {
		cmd.Flags().StringVar(f.to, f.name, "", f.help)
		must(cmd.RegisterFlagCompletionFunc(f.name, files))
	}
	return cmd
}

// deliverPair writes what has no file yet: the private key, or without it the public one.
func (a *app) deliverPair(res client.GenerateDataKeyPairOutput, publicPEM []byte, public, out string) error {
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: res.PrivateKey})
	defer clear(private)
	if out != "" {
		if err := writeFile(out, private, 0o600); err != nil {
			return err
		}
	}
	switch {
	case a.json() && out != "":
		return a.writeJSON(written{Out: out, Bytes: len(private), KeyID: res.KeyID, Version: res.Version})
	case a.json():
		return a.writeJSON(res)
	case len(res.PrivateKey) > 0 && out == "":
		_, err := a.out.Write(private)
		return err
	case len(res.PrivateKey) == 0 && public == "":
		_, err := a.out.Write(publicPEM)
		return err
	}
	return nil
}
