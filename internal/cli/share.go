package cli

import (
	"context"
	"encoding/base64"
	"encoding/pem"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
)

// base64Flag is a flag whose value is base64.
type base64Flag struct{ to *[]byte }

func (b base64Flag) String() string { return "" }

// Type is the form that the help shows.
func (b base64Flag) Type() string { return "BASE64" }

// Set reads the value.
func (b base64Flag) Set(s string) (err error) {
	*b.to, err = base64.StdEncoding.DecodeString(s)
	return err
}

var kdfs = []string{"hkdf-sha-256"}

func (a *app) deriveCommand() *cobra.Command {
	var in client.DeriveSharedSecretInput
	var peer, info string
	var e encoding
	cmd := &cobra.Command{
		Use: "derive --key KEY --peer FILE [flags]", Short: "Agree on a secret with the holder of another key pair", GroupID: groupUse,
		Long: `Agree on a secret with the holder of another key pair (ECDH, X25519), whose public key is in the file of --peer (PEM or DER).
The holder gets the same secret from the key's public half (keyhold key public).

With --kdf the secret is derived from the agreed value and is a key. Without it the value itself comes out, which is not: it is
for a derivation of your own. The secret goes to standard output or --out: use it, then erase it.`,
		Example: "  keyhold derive --key agree --peer theirs.pem --kdf hkdf-sha-256 --info 'orders 2026' --out secret.bin\n" +
			"  keyhold derive --key agree --peer theirs.pem --base64",
		Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			if err := needKey(in.Key); err != nil {
				return err
			}
			if peer == "" {
				return usagef("--peer FILE names the file of the other's public key", "an agreement has two sides, and the other was not named")
			}
			if in.KDF != "" {
				if err := oneOf("a kdf", in.KDF, kdfs); err != nil {
					return err
				}
			} else if len(in.Salt) > 0 || info != "" || in.Length != 0 {
				return usagef("add --kdf hkdf-sha-256", "--salt, --info and --length belong to a --kdf")
			}
			if err := a.ready(e, "shared secret"); err != nil {
				return err
			}
			var err error
			if in.PeerPublicKey, err = readPublic(peer); err != nil {
				return err
			}
			in.Info = []byte(info)
			res, err := c.DeriveSharedSecret(ctx, in, a.options()...)
			if err != nil {
				return err
			}
			defer clear(res.Secret)
			return a.deliver(e, "shared secret", res.Secret, res, res.KeyID, res.Version)
		}),
		ValidArgsFunction: fixed(),
	}
	a.keyFlag(cmd, &in.Key, "key: id, name or alias/NAME")
	cmd.Flags().StringVar(&peer, "peer", "", "file of the other's public key (PEM or DER, SubjectPublicKeyInfo)")
	must(cmd.RegisterFlagCompletionFunc("peer", files))
	cmd.Flags().Uint32Var(&in.Version, "version", 0, "version of the key; 0: the primary version")
	choice(cmd, &in.KDF, "kdf", "derivation: hkdf-sha-256; default: none", kdfs)
	cmd.Flags().Var(base64Flag{&in.Salt}, "salt", "salt of the derivation")
	cmd.Flags().StringVar(&info, "info", "", "what the secret is for, the same on both sides")
	cmd.Flags().Uint32Var(&in.Length, "length", 0, "bytes of the derived secret, 1 to 1024 (default: 32)")
	e.flags(cmd, "print base64")
	return cmd
}

// readPublic reads a public key, PEM or DER.
func readPublic(path string) ([]byte, error) {
	b, err := readSmall(path, maxTokenFile)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	switch {
	case block == nil:
		return b, nil
	case block.Type != "PUBLIC KEY":
		return nil, refusal(kms.CodeBadRequest, "write the public key: openssl pkey -in KEY -pubout", "%s holds a %s, not a PUBLIC KEY", path, clip(block.Type))
	}
	return block.Bytes, nil
}

func (a *app) encapsulateCommand() *cobra.Command {
	var in client.EncapsulateInput
	var ciphertext string
	var e encoding
	cmd := &cobra.Command{
		Use: "encapsulate --key KEY --ciphertext FILE [flags]", Short: "Make a shared secret for the holder of a key", GroupID: groupUse,
		Long: `Make a shared secret of 32 bytes and its encapsulation for a key (ML-KEM, X-Wing). The encapsulation goes to the file of --ciphertext:
send it, with the version of the key, to whoever may decapsulate. The secret goes to standard output or --out: use it, then erase
it. Whoever has the public half (keyhold key public) can do the same without the server.`,
		Example: "  keyhold encapsulate --key kem --ciphertext kem.ct --out secret.bin\n" +
			"  keyhold encapsulate --key kem -o json",
		Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			if err := needKey(in.Key); err != nil {
				return err
			}
			if ciphertext == "" && (!a.json() || e.out != "") {
				return usagef("--ciphertext FILE keeps it, -o json prints both", "without the encapsulation nobody else has the secret")
			}
			if err := a.ready(e, "shared secret"); err != nil {
				return err
			}
			res, err := c.Encapsulate(ctx, in, a.options()...)
			if err != nil {
				return err
			}
			defer clear(res.Secret)
			if ciphertext != "" {
				if err := a.result(encoding{base64: e.base64, out: ciphertext}, "encapsulation", res.Ciphertext); err != nil {
					return err
				}
			}
			return a.deliver(e, "shared secret", res.Secret, res, res.KeyID, res.Version)
		}),
		ValidArgsFunction: fixed(),
	}
	a.keyFlag(cmd, &in.Key, "key: id, name or alias/NAME")
	cmd.Flags().Uint32Var(&in.Version, "version", 0, "version of the key; 0: the primary version")
	cmd.Flags().StringVar(&ciphertext, "ciphertext", "", "file for the encapsulation")
	must(cmd.RegisterFlagCompletionFunc("ciphertext", files))
	e.flags(cmd, "write base64")
	return cmd
}

func (a *app) decapsulateCommand() *cobra.Command {
	var in client.DecapsulateInput
	var isBase64 bool
	var e encoding
	cmd := &cobra.Command{
		Use: "decapsulate --key KEY [FILE] [flags]", Short: "Open what encapsulate made", GroupID: groupUse,
		Long: `Answer the shared secret of the encapsulation in FILE, or standard input. Once the key was rotated, --version says which version it
was made for: an encapsulation does not tell. One that was altered, or made for another key, gives another secret instead of an error.`,
		Example: "  keyhold decapsulate --key kem --version 1 kem.ct --out secret.bin",
		Args:    cobra.MaximumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := needKey(in.Key); err != nil {
				return err
			}
			if err := a.ready(e, "shared secret"); err != nil {
				return err
			}
			data, name, err := a.read(args, maxTokenFile)
			if err != nil {
				return err
			}
			if isBase64 {
				if data, err = unbase64(name, data); err != nil {
					return err
				}
			}
			in.Ciphertext = data
			res, err := c.Decapsulate(ctx, in, a.options()...)
			if err != nil {
				return err
			}
			defer clear(res.Secret)
			return a.deliver(e, "shared secret", res.Secret, res, res.KeyID, res.Version)
		}),
		ValidArgsFunction: first(files),
	}
	a.keyFlag(cmd, &in.Key, "key: id, name or alias/NAME")
	cmd.Flags().Uint32Var(&in.Version, "version", 0, "version of the key that encapsulate named; needed once the key was rotated")
	cmd.Flags().BoolVar(&isBase64, "from-base64", false, "the encapsulation is base64")
	e.flags(cmd, "print the secret as base64")
	return cmd
}
