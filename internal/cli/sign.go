package cli

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
)

// isText tells whether a terminal can show data without harm.
func isText(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\t' && c != '\r' || c == 0x7f {
			return false
		}
	}
	return !strings.Contains(string(b), "\u009b") // CSI in eight bits
}

// hashes are the hash functions of the schemes that sign a digest, by the end of the scheme's name.
var hashes = []struct {
	suffix string
	make   func() hash.Hash
}{{"-sha-256", sha256.New}, {"-sha-384", sha512.New384}, {"-sha-512", sha512.New}}

// message is what is signed: the data, or their digest.
type message struct {
	data     []byte
	digested bool
	scheme   string
	name     string
}

// message reads the input of sign and verify. With digest it hashes it here, however long it is, and sends the digest only.
func (a *app) message(ctx context.Context, c *client.Client, args []string, key, scheme string, version uint32, digest bool) (message, error) {
	m := message{scheme: scheme, digested: digest}
	r, name, err := a.input(args)
	if err != nil {
		return m, err
	}
	defer r.Close() //nolint:errcheck // it was only read
	m.name = name
	if !digest {
		m.data, err = readAtMost(r, name, maxDirect)
		if kms.CodeOf(err) == kms.CodeTooLarge && err != nil {
			return m, refusal(kms.CodeTooLarge, "add --digest: the digest is computed here, and only it is sent (not possible with ed25519)", "%s has more than %d bytes", name, maxDirect)
		}
		return m, err
	}
	if m.scheme == "" {
		p, err := c.GetPublicKey(ctx, key, version, a.options()...)
		if err != nil {
			return m, err
		}
		if len(p.Schemes) == 0 {
			return m, refusal(kms.CodeUsage, "use a key made for signing", "the key %q does not sign", key)
		}
		m.scheme = p.Schemes[0]
	}
	for _, h := range hashes {
		if strings.HasSuffix(m.scheme, h.suffix) {
			d := h.make()
			if _, err := io.Copy(d, r); err != nil {
				return m, fmt.Errorf("read %s: %w", name, err)
			}
			m.data = d.Sum(nil)
			return m, nil
		}
	}
	return m, refusal(kms.CodeAlgorithm, "leave --digest out: at most 64 KiB are signed whole; for more, use a key of another algorithm",
		"%s signs the message itself and takes no digest", m.scheme)
}

func (a *app) signCommand() *cobra.Command {
	var key, scheme string
	var version uint32
	var digest bool
	var e encoding
	cmd := &cobra.Command{
		Use: "sign --key KEY [FILE] [flags]", Short: "Sign a file", GroupID: groupUse,
		Long: `Sign FILE, or standard input. At most 64 KiB are sent as they are; with --digest the scheme's digest is computed here, so that the
file can be of any length and stays here. The signature is the same.`,
		Example: "  keyhold sign --key release notes.txt --out notes.sig\n" +
			"  keyhold sign --key release --digest notes.txt --base64",
		Args: cobra.MaximumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := needKey(key); err != nil {
				return err
			}
			if err := a.ready(e, "signature"); err != nil {
				return err
			}
			m, err := a.message(ctx, c, args, key, scheme, version, digest)
			if err != nil {
				return err
			}
			res, err := c.Sign(ctx, client.SignInput{Key: key, Message: m.data, Digested: m.digested, Version: version, Scheme: m.scheme}, a.options()...)
			if err != nil {
				return err
			}
			return a.deliver(e, "signature", res.Signature, res, res.KeyID, res.Version)
		}),
		ValidArgsFunction: first(files),
	}
	a.keyFlag(cmd, &key, "key: id, name or alias/NAME")
	choice(cmd, &scheme, "scheme", "signature scheme; default: that of the key's algorithm", schemes())
	cmd.Flags().Uint32Var(&version, "version", 0, "version of the key; 0: the primary version")
	cmd.Flags().BoolVar(&digest, "digest", false, "compute the digest here and send only that")
	e.flags(cmd, "print the signature as base64")
	return cmd
}

func (a *app) verifyCommand() *cobra.Command {
	var key, scheme, signature string
	var version uint32
	var digest, isBase64 bool
	cmd := &cobra.Command{
		Use: "verify --key KEY --signature SIGNATURE [FILE] [flags]", Short: "Verify a signature", GroupID: groupUse,
		Long: `Verify the signature in the file SIGNATURE of FILE, or standard input. Status 0 means that it verifies. The public key
(keyhold key public) lets anybody verify without the server.`,
		Example: "  keyhold verify --key release --signature notes.sig notes.txt",
		Args:    cobra.MaximumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := needKey(key); err != nil {
				return err
			}
			if signature == "" {
				return usagef("--signature FILE names it", "no signature was named")
			}
			sig, err := readSmall(signature, maxTokenFile)
			if err != nil {
				return err
			}
			if isBase64 {
				if sig, err = unbase64(signature, sig); err != nil {
					return err
				}
			}
			m, err := a.message(ctx, c, args, key, scheme, version, digest)
			if err != nil {
				return err
			}
			res, err := c.Verify(ctx, client.VerifyInput{Key: key, Message: m.data, Digested: m.digested, Signature: sig, Version: version, Scheme: m.scheme}, a.options()...)
			if err != nil {
				return err
			}
			return a.saidVerified(res, m.name)
		}),
		ValidArgsFunction: first(files),
	}
	a.keyFlag(cmd, &key, "key: id, name or alias/NAME")
	cmd.Flags().StringVar(&signature, "signature", "", "file of the signature")
	choice(cmd, &scheme, "scheme", "signature scheme; default: that of the key's algorithm", schemes())
	cmd.Flags().Uint32Var(&version, "version", 0, "version of the key; 0: the primary version")
	cmd.Flags().BoolVar(&digest, "digest", false, "compute the digest here and send only that")
	cmd.Flags().BoolVar(&isBase64, "base64", false, "the signature is base64")
	return cmd
}
