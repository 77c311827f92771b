package cli

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/transport"
)

func (a *app) keyExport() *cobra.Command {
	var in client.ExportKeyInput
	var to, out string
	cmd := &cobra.Command{
		Use: "export KEY (--to RECEIVER | --wrapping-key KEY) --out FILE [flags]", Short: "Take a key out, wrapped for a receiver",
		Long: `Take the material of a key out, wrapped for a receiver. Only a key that was created exportable leaves, and only wrapped; every export is in the
audit trail with the receiver's fingerprint.

RECEIVER is the file of a public key or certificate (PEM or DER): RSA of 2048 to 4096 bits, by RSA-AES key wrap (PKCS #11 CKM_RSA_AES_KEY_WRAP)
unless --transport says otherwise; P-256 or MLKEM768-X25519, by HPKE. Or it is the token that another Keyhold wrote (keyhold key import-token --out).
Inside is a symmetric key as it is, or a private key as PKCS #8.`,
		Example: "  keyhold key export partner --to receiver.pem --out partner.wrapped\n" +
			"  keyhold key export partner --to other.token --out partner.wrapped\n" +
			"  keyhold key export partner --wrapping-key transport --out partner.wrapped",
		Args: cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			in.Key = args[0]
			if (to == "") == (in.WrappingKey == "") {
				return usagef("--to names its public key; --wrapping-key a key that both sides have", "an export needs one receiver")
			}
			if out == "" && !a.json() {
				return usagef("-o json prints it instead", "--out FILE is missing")
			}
			if in.Transport != "" {
				if err := oneOf("a transport", in.Transport, transports()); err != nil {
					return err
				}
			}
			if to != "" {
				if err := receiver(to, &in); err != nil {
					return err
				}
			}
			res, err := c.ExportKey(ctx, in, a.options()...)
			if err != nil {
				return err
			}
			if out != "" {
				if err := writeFile(out, res.WrappedMaterial, 0o600); err != nil {
					return err
				}
			}
			if a.json() {
				return a.writeJSON(res)
			}
			_, err = fmt.Fprintf(a.out, "exported version %d of key %s, %s, by %s to %s: check value %x\n",
				res.Version, printable(args[0]), res.Algorithm, res.Transport, res.Receiver, res.CheckValue)
			return err
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	f := cmd.Flags()
	f.StringVar(&to, "to", "", "file of the receiver's public key, certificate or import token")
	f.StringVar(&out, "out", "", "file for the wrapped material")
	must(cmd.RegisterFlagCompletionFunc("to", files))
	must(cmd.RegisterFlagCompletionFunc("out", files))
	f.StringVar(&in.WrappingKey, "wrapping-key", "", "instead: key of the server that wraps; the receiver has it too")
	must(cmd.RegisterFlagCompletionFunc("wrapping-key", a.completeKeys))
	f.Uint32Var(&in.WrappingVersion, "wrapping-version", 0, "version of the wrapping key; 0: its primary version")
	f.Uint32Var(&in.Version, "version", 0, "version of the key; 0: the primary version")
	choice(cmd, &in.Transport, "transport", "how it is wrapped (default: what the receiver's key is used with)", transports())
	return cmd
}

// yesOrNothing is for facts that are left out where they do not hold.
func yesOrNothing(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// receiver reads whom the material is wrapped for.
func receiver(path string, in *client.ExportKeyInput) error {
	text, err := readSmall(path, maxToken)
	if err != nil {
		return err
	}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		var tok client.ImportToken
		if err := json.Unmarshal(text, &tok); err != nil || len(tok.PublicKey) == 0 {
			return refusal(kms.CodeImportToken, "write one with keyhold key import-token KEY --out TOKEN", "the file %s does not hold an import token with a public key", path)
		}
		if in.Transport != "" && in.Transport != tok.Transport {
			return usagef("leave --transport out", "the token is for %s", tok.Transport)
		}
		in.PublicKey, in.Info, in.Transport = tok.PublicKey, tok.Info, tok.Transport
		return nil
	}
	if block, _ := pem.Decode(text); block != nil {
		text = block.Bytes
	}
	if cert, err := x509.ParseCertificate(text); err == nil {
		text = cert.RawSubjectPublicKeyInfo
	}
	if _, err := transport.ParsePublic(text); err != nil {
		return refusal(kms.CodeBadRequest, "pass a public key or certificate as PEM or DER: RSA of 2048 to 4096 bits, or P-256", "%s does not hold a public key that material can be wrapped for", path)
	}
	in.PublicKey = text
	return nil
}

func (a *app) keyExpire() *cobra.Command {
	var ch change
	var window days
	var keep, yes bool
	cmd := &cobra.Command{
		Use: "expire KEY VERSION [flags]", Short: "Set when the imported material of a version is forgotten",
		Long: `Set when the imported material of a version is forgotten. From that second on the version does nothing; the same material can be imported again
(keyhold key import KEY FILE --version VERSION), which needs your own copy of it. Until then --keep takes it back.

It asks first on a terminal; without a terminal it needs --yes.`,
		Example: "  keyhold key expire orders 1 --window 30d --yes\n  keyhold key expire orders 1 --keep",
		Args:    cobra.ExactArgs(2),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			n, err := strconv.ParseUint(args[1], 10, 32)
			if err != nil || n == 0 {
				return usagef("keyhold key versions "+args[0]+" lists them", "%q is not the number of a version", clip(args[1]))
			}
			if keep {
				k, err := c.KeepKeyMaterial(ctx, args[0], uint32(n), a.with(ch)...)
				if err != nil {
					return err
				}
				return a.changed(k, ch, "version %d of key %s does not expire", n, k.Name)
			}
			if err := a.confirm(yes || ch.dryRun, fmt.Sprintf("Forget the material of version %d of key %q after the waiting time? Without a copy of yours, what it encrypted will be lost.", n, args[0])); err != nil {
				return err
			}
			k, err := c.ExpireKeyMaterial(ctx, args[0], uint32(n), time.Duration(window), a.with(ch)...)
			if err != nil {
				return err
			}
			at := ""
			if len(k.Versions) > 0 {
				at = moment(k.Versions[0].ExpiresAt)
			}
			return a.changed(k, ch, "the material of version %d of key %s will be forgotten at %s; until then keyhold key expire %s %d --keep takes it back", n, k.Name, at, k.Name, n)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	cmd.Flags().Var(&window, "window", "waiting time, for example 30d (default: 30d; at least 7d outside development)")
	cmd.Flags().BoolVar(&keep, "keep", false, "the material does not expire any more")
	cmd.MarkFlagsMutuallyExclusive("window", "keep")
	yesFlag(cmd, &yes)
	ch.flags(cmd)
	return cmd
}
