package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/transfer"
	"github.com/keyhold/keyhold/internal/transport"
)

// maxToken is more than an import token has as JSON, in bytes.
const maxToken = 16 << 10

func transports() []string { return named(kms.AllTransports()) }

// importedAs are the flags that say what a key that does not exist yet is to be.
type importedAs struct {
	algorithm, usage string
	exportable       bool
}

func (i *importedAs) flags(cmd *cobra.Command) {
	choice(cmd, &i.algorithm, "algorithm", "algorithm of a new key (keyhold key algorithms lists them)", algorithms())
	choice(cmd, &i.usage, "usage", "purpose of a new key, where the algorithm can serve several: encrypt or sign", usages())
	cmd.Flags().BoolVar(&i.exportable, "exportable", false, "a new key may leave again, wrapped; for ever")
}

func (i *importedAs) check() error {
	if i.algorithm != "" {
		if err := oneOf("an algorithm", i.algorithm, algorithms()); err != nil {
			return err
		}
	}
	if i.usage == "" {
		return nil
	}
	return oneOf("a usage", i.usage, usages())
}

// tokenAs are the flags that say how material is wrapped.
type tokenAs struct {
	transport, algorithm, wrapping string
	lifetime                       days
}

func (t *tokenAs) flags(a *app, cmd *cobra.Command) {
	choice(cmd, &t.transport, "transport", "how the material is wrapped (default: the strongest that the server's profile permits)", transports())
	choice(cmd, &t.algorithm, "wrapping-algorithm", "key pair that the server makes for it, for the transports of RSA (default: rsa-3072)", []string{"rsa-2048", "rsa-3072", "rsa-4096"})
	cmd.Flags().StringVar(&t.wrapping, "wrapping-key", "", "key of the server that wraps it, for aes-kwp and aes-kw; the other side has it too")
	must(cmd.RegisterFlagCompletionFunc("wrapping-key", a.completeKeys))
	cmd.Flags().Var(&t.lifetime, "lifetime", "how long the token is good for (default: 24h; at most 7d)")
}

func (t *tokenAs) check() error {
	if t.transport == "" {
		return nil
	}
	return oneOf("a transport", t.transport, transports())
}

func (t *tokenAs) input(key string, version uint32) client.CreateImportTokenInput {
	return client.CreateImportTokenInput{
		Key: key, Version: version, Transport: t.transport, WrappingAlgorithm: t.algorithm, WrappingKey: t.wrapping, Lifetime: time.Duration(t.lifetime),
	}
}

// importTarget is the key that material goes into: the one of that name, or a new one.
func (a *app) importTarget(ctx context.Context, c *client.Client, name string, as importedAs, ch change) (k client.Key, made bool, err error) {
	k, err = c.DescribeKey(ctx, name, a.options()...)
	var e *client.Error
	if !errors.As(err, &e) || e.Code != kms.CodeKeyNotFound.String() {
		if err == nil && as.algorithm != "" && k.Algorithm != as.algorithm {
			err = refusal(kms.CodeExists, "choose another name, or leave --algorithm out", "the key %q is there already, and is %s", name, k.Algorithm)
		}
		return k, false, err
	}
	if as.algorithm == "" {
		return k, false, usagef("for example --algorithm aes-256-gcm; keyhold key algorithms shows them all", "there is no key %q yet, and a new one needs an algorithm", name)
	}
	k, err = c.CreateKey(ctx, client.CreateKeyInput{Name: name, Algorithm: as.algorithm, Usage: as.usage, Import: true, Exportable: as.exportable}, a.with(ch)...)
	return k, true, err
}

func (a *app) keyImportToken() *cobra.Command {
	var ch change
	var as importedAs
	var how tokenAs
	var version uint32
	var out string
	cmd := &cobra.Command{
		Use: "import-token KEY [flags]", Short: "Get what the material of one import is wrapped with",
		Long: `Get a token for one import: a public key of the server that serves this one import, and what else is needed to wrap the material somewhere
else. Nothing of it is secret. If there is no key of that name, --algorithm makes one that waits for its material.

Wrap on the machine that has the material, which needs no server: keyhold key import KEY FILE --token TOKEN --out WRAPPED. Then bring it:
keyhold key import KEY --token TOKEN --wrapped WRAPPED. Other systems wrap with the public key and the transport that the token names.`,
		Example: "  keyhold key import-token vault --algorithm aes-256-gcm --out vault.token\n" +
			"  keyhold key import-token orders --version 1 --transport rsa-aes-key-wrap-sha-256 --lifetime 3d -o json",
		Args: cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := errors.Join(as.check(), how.check()); err != nil {
				return err
			}
			_, made, err := a.importTarget(ctx, c, args[0], as, ch.apart())
			if err != nil {
				return err
			}
			if made && (ch.ask || ch.askFor > 0) {
				return refusal(kms.CodeKeyNotFound, "make it first: repeat the command without --request-approval",
					"there is no key %q yet, and what others approve is a token for one that is there", args[0])
			}
			if made && ch.dryRun {
				a.planned(ch)
				_, err := fmt.Fprintf(a.out, "would make key %s, which waits for its material, and a token for it\n", printable(args[0]))
				return err
			}
			tok, err := c.CreateImportToken(ctx, how.input(args[0], version), a.with(ch)...)
			if err != nil {
				return err
			}
			a.planned(ch)
			if out != "" && !ch.dryRun {
				text, err := json.MarshalIndent(tok, "", "  ")
				if err != nil {
					return err
				}
				if err := writeFile(out, append(text, '\n'), 0o644); err != nil {
					return err
				}
			}
			if a.json() {
				return a.writeJSON(tok)
			}
			return a.facts(
				fact{"token", plain(tok.TokenID)}, fact{"for", plain(fmt.Sprintf("version %d of key %s, %s", tok.Version, args[0], tok.Algorithm))},
				fact{"transport", plain(tok.Transport)}, fact{"public key", plain(fingerprint(tok.PublicKey))}, fact{"wrapping key", plain(tok.WrappingKeyID)},
				fact{"over", plain(moment(tok.ExpiresAt))}, fact{"written to", plain(out)},
			)
		}),
		ValidArgsFunction: first(a.completeKeys),
	}
	as.flags(cmd)
	how.flags(a, cmd)
	cmd.Flags().Uint32Var(&version, "version", 0, "version whose material is brought back; 0: a new version")
	cmd.Flags().StringVar(&out, "out", "", "file for the token (JSON)")
	must(cmd.RegisterFlagCompletionFunc("out", files))
	ch.flags(cmd)
	return cmd
}

// fingerprint names a public key; empty for none.
func fingerprint(der []byte) string {
	public, err := transport.ParsePublic(der)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("sha256:%x", public.Fingerprint)
}

// keyImport is one key import under way.
type keyImport struct {
	*app
	ch         change
	as         importedAs
	how        tokenAs
	version    uint32
	expires    ahead
	format     string
	passphrase string
	token      string // file of a token, or its id where the material is wrapped already
	wrapped    string // file of what was wrapped elsewhere
	out        string // file for what is wrapped here and brought later
}

func (a *app) keyImport() *cobra.Command {
	i := &keyImport{app: a}
	cmd := &cobra.Command{
		Use: "import KEY [FILE] [flags]", Short: "Bring in a key that was made elsewhere",
		Long: `Bring in a key that was made elsewhere. FILE, or standard input, holds one private key or secret key: PEM or DER (PKCS #8, PKCS #1, SEC 1,
encrypted PKCS #8), PKCS #12, JWK, raw bytes, hexadecimal digits or base64. It says what it saw; the material itself is wrapped here, for a
public key of the server that serves this one import, and does not cross the network in the clear.

If there is no key of that name, one is made. Into a key that was imported before comes a new version; --version brings back the material of a
version that expired, if it is the same.

Without a network: --token TOKEN --out WRAPPED wraps and asks no server; --token TOKEN --wrapped WRAPPED brings what was wrapped. That is also the
form which others can approve (--request-approval, --approval), and which can be repeated (--idempotency-token): one exact request.`,
		Example: "  keyhold key import partner partner.pem --exportable\n" +
			"  keyhold key import orders --algorithm aes-256-gcm --expires 365d\n" +
			"  keyhold key import shop bundle.p12 --passphrase-file phrase.txt --usage sign\n" +
			"  keyhold key import vault vault.key --token vault.token --out vault.wrapped\n" +
			"  keyhold key import vault --token vault.token --wrapped vault.wrapped",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: i.complete,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := i.check(args); err != nil {
			return err
		}
		if i.out != "" {
			return i.wrapOnly(args)
		}
		return a.call(i.run)(cmd, args)
	}
	i.as.flags(cmd)
	i.how.flags(a, cmd)
	f := cmd.Flags()
	f.Uint32Var(&i.version, "version", 0, "version whose material is brought back; 0: a new version")
	f.Var(&i.expires, "expires", "when the material is forgotten: a date, a time, or in how long (default: never)")
	choice(cmd, &i.format, "format", "form of FILE, where it could be several", transfer.Formats())
	for _, v := range []struct {
		to         *string
		name, help string
	}{
		{&i.passphrase, "passphrase-file", "file that holds the passphrase of FILE; -: ask on the terminal"},
		{&i.token, "token", "file of a token that key import-token wrote, or the id of one"},
		{&i.wrapped, "wrapped", "file of material that was wrapped for the token"},
		{&i.out, "out", "wrap only: file for the wrapped material"},
	} {
		f.StringVar(v.to, v.name, "", v.help)
		must(cmd.RegisterFlagCompletionFunc(v.name, files))
	}
	i.ch.flags(cmd)
	return cmd
}

func (i *keyImport) complete(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return i.completeKeys(cmd, args, part)
	}
	return files(cmd, args, part)
}

func (i *keyImport) check(args []string) error {
	switch {
	case i.wrapped != "" && i.token == "":
		return usagef("--token names the token that it was wrapped for", "--wrapped needs --token")
	case i.wrapped != "" && (len(args) > 1 || i.out != ""):
		return usagef("leave FILE and --out out", "--wrapped is what was wrapped already")
	case i.out != "" && i.token == "":
		return usagef("keyhold key import-token "+args[0]+" --out TOKEN writes one", "--out needs --token")
	case i.token != "" && i.out == "" && i.wrapped == "":
		return usagef("--out WRAPPED wraps for it; --wrapped WRAPPED brings what was wrapped; without --token both are done at once", "--token alone says not what to do")
	}
	if i.wrapped == "" && (i.ch.token != "" || i.ch.approval != "" || i.ch.ask || i.ch.askFor > 0) {
		return usagef("wrap it first: keyhold key import "+args[0]+" FILE --token TOKEN --out WRAPPED; then bring it with --wrapped WRAPPED, and these flags",
			"material is wrapped differently each time, and an approval or an idempotency token is for one exact request")
	}
	if i.format != "" {
		if err := oneOf("a form of a key file", i.format, transfer.Formats()); err != nil {
			return err
		}
	}
	return errors.Join(i.as.check(), i.how.check())
}

// see reads the key file and says on standard error what it saw.
func (i *keyImport) see(args []string, algorithm string) (transfer.Found, error) {
	data, name, err := i.read(args[1:], transfer.MaxFile)
	if err != nil {
		return transfer.Found{}, err
	}
	defer clear(data)
	o := transfer.Options{Format: transfer.Format(i.format)}
	if algorithm != "" {
		if o.Algorithm, err = kms.ParseAlgorithm(algorithm); err != nil {
			return transfer.Found{}, err
		}
	}
	if i.passphrase != "" || isTerminal(i.in) {
		o.Passphrase = func() ([]byte, error) {
			return i.secretText(i.passphrase, "passphrase of "+filepath.Base(name), maxTokenFile)
		}
	}
	f, err := transfer.Read(data, o)
	if err != nil {
		return f, err
	}
	fmt.Fprintf(i.stderr, "%s: %s (%s)", printable(name), f.Kind, f.Container)
	if p := f.Fingerprint(); p != "" {
		fmt.Fprintf(i.stderr, ", %s", p)
	}
	fmt.Fprintln(i.stderr)
	return f, nil
}

// seal wraps what was found for a token.
func (i *keyImport) seal(f *transfer.Found, tok *client.ImportToken) ([]byte, error) {
	t, err := kms.ParseTransport(tok.Transport)
	if err != nil {
		return nil, err
	}
	if t.Symmetric() {
		return nil, refusal(kms.CodeBadRequest, "wrap it where the wrapping key is, and bring it with --token and --wrapped", "%s wraps under a key that is not here", t)
	}
	public, err := transport.ParsePublic(tok.PublicKey)
	if err != nil {
		return nil, err
	}
	return transport.Seal(t, public.Key, tok.Info, f.Material)
}

// wrapOnly wraps for a token that was fetched before. It asks no server.
func (i *keyImport) wrapOnly(args []string) error {
	text, err := readSmall(i.token, maxToken)
	if err != nil {
		return err
	}
	var tok client.ImportToken
	if err := json.Unmarshal(text, &tok); err != nil || len(tok.PublicKey) == 0 {
		return refusal(kms.CodeImportToken, "write one with keyhold key import-token "+args[0]+" --out TOKEN", "the file %s does not hold an import token with a public key", i.token)
	}
	f, err := i.see(args, tok.Algorithm)
	if err != nil {
		return err
	}
	defer f.Material.Zero()
	parcel, err := i.seal(&f, &tok)
	if err != nil {
		return err
	}
	if err := writeFile(i.out, parcel, 0o600); err != nil {
		return err
	}
	if i.json() {
		return i.writeJSON(written{Out: i.out, Bytes: len(parcel), KeyID: tok.KeyID, Version: tok.Version})
	}
	_, err = fmt.Fprintf(i.app.out, "wrapped for token %s by %s: bring it with keyhold key import %s --token %s --wrapped %s until %s\n",
		tok.TokenID, tok.Transport, printable(args[0]), printable(i.token), printable(i.out), moment(tok.ExpiresAt))
	return err
}

func (i *keyImport) run(ctx context.Context, c *client.Client, args []string) error {
	in := client.ImportKeyMaterialInput{Key: args[0], WrappingKey: i.how.wrapping, ExpiresAt: i.expires.Time}
	if i.wrapped != "" {
		var err error
		if in.WrappedMaterial, err = readSmall(i.wrapped, transport.MaxParcel); err != nil {
			return err
		}
		if in.TokenID, err = tokenID(i.token); err != nil {
			return err
		}
		return i.bring(ctx, c, in)
	}
	f, err := i.target(ctx, c, args)
	if err != nil || f.Material == nil {
		return err
	}
	defer f.Material.Zero()
	tok, err := c.CreateImportToken(ctx, i.how.input(args[0], i.version), i.with(i.ch)...)
	if err != nil {
		return err
	}
	if i.ch.dryRun {
		i.planned(i.ch)
		_, err := fmt.Fprintf(i.app.out, "would import version %d of key %s by %s\n", tok.Version, printable(args[0]), tok.Transport)
		return err
	}
	if in.WrappedMaterial, err = i.seal(&f, &tok); err != nil {
		return err
	}
	in.TokenID, in.PublicKey = tok.TokenID, f.Public
	return i.bring(ctx, c, in)
}

// target reads the file as what the key is, or makes the key that the file says. No material: it was a dry run, and there is no key.
func (i *keyImport) target(ctx context.Context, c *client.Client, args []string) (transfer.Found, error) {
	k, err := c.DescribeKey(ctx, args[0], i.options()...)
	if err == nil {
		if _, _, err = i.importTarget(ctx, c, args[0], i.as, i.ch); err != nil {
			return transfer.Found{}, err
		}
		return i.see(args, k.Algorithm)
	}
	var e *client.Error
	if !errors.As(err, &e) || e.Code != kms.CodeKeyNotFound.String() {
		return transfer.Found{}, err
	}
	f, err := i.see(args, i.as.algorithm)
	if err != nil {
		return f, err
	}
	as := i.as
	as.algorithm = f.Algorithm.String()
	if _, _, err = i.importTarget(ctx, c, args[0], as, i.ch); err != nil || i.ch.dryRun {
		f.Material.Zero()
		if err == nil {
			i.planned(i.ch)
			_, err = fmt.Fprintf(i.app.out, "would make key %s, %s, and import its material\n", printable(args[0]), as.algorithm)
		}
		return transfer.Found{}, err
	}
	return f, nil
}

// tokenID reads the id of a token from its file; what is the id itself is taken as it is.
func tokenID(s string) (string, error) {
	if _, ok := kms.ParseID(s); ok {
		return s, nil
	}
	text, err := readSmall(s, maxToken)
	if err != nil {
		return "", err
	}
	var tok client.ImportToken
	if err := json.Unmarshal(text, &tok); err != nil || tok.TokenID == "" {
		return "", refusal(kms.CodeImportToken, "name the file that keyhold key import-token wrote, or the token's id", "the file %s does not hold an import token", s)
	}
	return tok.TokenID, nil
}

func (i *keyImport) bring(ctx context.Context, c *client.Client, in client.ImportKeyMaterialInput) error {
	k, err := c.ImportKeyMaterial(ctx, in, i.with(i.ch)...)
	if err != nil {
		return err
	}
	i.planned(i.ch)
	if i.json() {
		return i.writeJSON(k)
	}
	v := k.Versions[0]
	said := fmt.Sprintf("imported version %d of key %s: %s, %s, check value %x", v.Version, k.Name, k.Algorithm, k.Usage, v.CheckValue)
	if len(k.CMAC) > 0 {
		said += fmt.Sprintf(", KCV %X (CMAC)", k.CMAC)
	}
	if len(k.Zero) > 0 {
		said += fmt.Sprintf(", %X (zero block)", k.Zero)
	}
	if !v.ExpiresAt.IsZero() {
		said += ", until " + moment(v.ExpiresAt)
	}
	_, err = fmt.Fprintln(i.app.out, printable(said))
	return err
}
