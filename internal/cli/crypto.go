package cli

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
)

const adviceLarge = "encrypt it where it is, with a data key of the same key: keyhold file encrypt FILE --key NAME"

// maxCiphertext is more than the ciphertext of maxDirect bytes has, as base64 too.
const maxCiphertext = 2*maxDirect + 4096

func (a *app) keyFlag(cmd *cobra.Command, to *string, help string) {
	cmd.Flags().StringVarP(to, "key", "k", "", help)
	must(cmd.RegisterFlagCompletionFunc("key", a.completeKeys))
}

func needKey(key string) error {
	if key == "" {
		return usagef("for example --key orders; keyhold key list shows the keys you may see", "no key was named")
	}
	return nil
}

func (e *encoding) flags(cmd *cobra.Command, base64 string) {
	cmd.Flags().BoolVar(&e.base64, "base64", false, base64)
	cmd.Flags().StringVar(&e.out, "out", "", "file to write to (mode 0600), instead of standard output")
	must(cmd.RegisterFlagCompletionFunc("out", files))
}

// written is the JSON of output that went to a file.
type written struct {
	Out     string `json:"out"`
	Bytes   int    `json:"bytes"`
	KeyID   string `json:"key_id,omitempty"`
	Version uint32 `json:"version,omitempty"`
}

// deliver writes binary output: JSON holds it as base64, or names the file it went to.
func (a *app) deliver(e encoding, what string, data []byte, described any, keyID string, version uint32) error {
	if !a.json() {
		return a.result(e, what, data)
	}
	if e.out == "" {
		return a.writeJSON(described)
	}
	if err := a.result(e, what, data); err != nil {
		return err
	}
	return a.writeJSON(written{Out: e.out, Bytes: len(data), KeyID: keyID, Version: version})
}

func (a *app) encryptCommand() *cobra.Command {
	var in client.EncryptInput
	var pairs pairs
	var e encoding
	cmd := &cobra.Command{
		Use: "encrypt --key KEY [FILE] [flags]", Short: "Encrypt a file of at most 64 KiB", GroupID: groupUse,
		Long: `Encrypt FILE, or standard input, under a key's primary version. The ciphertext names its key and version and is bound to the
--context: exactly the same context is needed to decrypt it. The context is not secret.

At most 64 KiB are encrypted directly; more goes through envelope encryption (keyhold datakey).`,
		Example: "  keyhold encrypt --key orders card.txt --out card.enc\n" +
			"  keyhold encrypt --key orders --context order=17 card.txt --base64",
		Args: cobra.MaximumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := needKey(in.Key); err != nil {
				return err
			}
			if err := a.ready(e, "ciphertext"); err != nil {
				return err
			}
			data, name, err := a.read(args, maxDirect+1)
			if kms.CodeOf(err) == kms.CodeTooLarge || len(data) > maxDirect {
				return refusal(kms.CodeTooLarge, adviceLarge, "%s has more than %d bytes, the most that is encrypted directly", or(name, inputName(args)), maxDirect)
			}
			if err != nil {
				return err
			}
			defer clear(data)
			in.Plaintext, in.Context = data, client.Context(pairs)
			res, err := c.Encrypt(ctx, in, a.options()...)
			if err != nil {
				return err
			}
			return a.deliver(e, "ciphertext", res.Ciphertext, res, res.KeyID, res.Version)
		}),
		ValidArgsFunction: first(files),
	}
	a.keyFlag(cmd, &in.Key, "key: id, name or alias/NAME")
	pairs.flag(cmd, "context", "encryption context; can be repeated")
	cmd.Flags().Uint32Var(&in.Version, "version", 0, "version of the key; 0: the primary version")
	choice(cmd, &in.Scheme, "scheme", "scheme, for RSA keys", schemes())
	cmd.Flags().BoolVar(&in.Raw, "raw", false, "RSA keys: the bare OAEP ciphertext, without key and version in front")
	e.flags(cmd, "print the ciphertext as base64")
	return cmd
}

func inputName(args []string) string {
	if len(args) == 0 || args[0] == "-" {
		return "standard input"
	}
	return args[0]
}

func (a *app) decryptCommand() *cobra.Command {
	var in client.DecryptInput
	var pairs pairs
	var isBase64 bool
	var e encoding
	cmd := &cobra.Command{
		Use: "decrypt [FILE] [flags]", Short: "Decrypt what encrypt made", GroupID: groupUse,
		Long: `Decrypt FILE, or standard input. The ciphertext names its key; with --key, a ciphertext of another key is refused. The context
must be exactly that of the encryption.`,
		Example: "  keyhold decrypt card.enc\n" +
			"  keyhold decrypt --key orders --context order=17 --base64 card.b64 --out card.txt",
		Args: cobra.MaximumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			data, name, err := a.read(args, maxCiphertext)
			if err != nil {
				return err
			}
			if isBase64 {
				if data, err = unbase64(name, data); err != nil {
					return err
				}
			}
			in.Ciphertext, in.Context = data, client.Context(pairs)
			res, err := c.Decrypt(ctx, in, a.options()...)
			if err != nil {
				return err
			}
			defer clear(res.Plaintext)
			e.shown = isText(res.Plaintext)
			return a.deliver(e, "plaintext", res.Plaintext, res, res.KeyID, res.Version)
		}),
		ValidArgsFunction: first(files),
	}
	a.keyFlag(cmd, &in.Key, "key, if it must be this one: id, name or alias/NAME")
	pairs.flag(cmd, "context", "encryption context; can be repeated")
	cmd.Flags().BoolVar(&isBase64, "base64", false, "the ciphertext is base64")
	cmd.Flags().BoolVar(&in.Raw, "raw", false, "the ciphertext is a bare OAEP ciphertext of an RSA key (with --key)")
	cmd.Flags().Uint32Var(&in.Version, "version", 0, "version of the key, for --raw")
	choice(cmd, &in.Scheme, "scheme", "scheme, for --raw", schemes())
	cmd.Flags().StringVar(&e.out, "out", "", "file to write to (mode 0600), instead of standard output")
	return cmd
}

func (a *app) reencryptCommand() *cobra.Command {
	var in client.ReEncryptInput
	var from, to pairs
	var e encoding
	cmd := &cobra.Command{
		Use: "reencrypt --key KEY [FILE] [flags]", Short: "Move a ciphertext to another key or version", GroupID: groupUse,
		Long: `Move the ciphertext in FILE, or standard input, to the primary version of a key. Its plaintext does not leave the server.
With --base64, input and output are base64.`,
		Example: "  keyhold reencrypt --key orders card.enc --out card.new\n" +
			"  keyhold reencrypt --key orders --from-context order=17 --context order=18 --base64 card.b64",
		Args: cobra.MaximumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := needKey(in.ToKey); err != nil {
				return err
			}
			if err := a.ready(e, "ciphertext"); err != nil {
				return err
			}
			data, name, err := a.read(args, maxCiphertext)
			if err != nil {
				return err
			}
			if e.base64 {
				if data, err = unbase64(name, data); err != nil {
					return err
				}
			}
			in.Ciphertext, in.FromContext, in.ToContext = data, client.Context(from), client.Context(to)
			res, err := c.ReEncrypt(ctx, in, a.options()...)
			if err != nil {
				return err
			}
			return a.deliver(e, "ciphertext", res.Ciphertext, res, res.ToKeyID, res.Version)
		}),
		ValidArgsFunction: first(files),
	}
	a.keyFlag(cmd, &in.ToKey, "key to move to: id, name or alias/NAME")
	cmd.Flags().StringVar(&in.FromKey, "from-key", "", "key of the ciphertext, if it must be this one")
	must(cmd.RegisterFlagCompletionFunc("from-key", a.completeKeys))
	from.flag(cmd, "from-context", "context that the ciphertext was made with; can be repeated")
	to.flag(cmd, "context", "context of the new ciphertext; can be repeated")
	e.flags(cmd, "read and print base64")
	return cmd
}

func (a *app) datakeyCommand() *cobra.Command {
	var in client.GenerateDataKeyInput
	var pairs pairs
	var e encoding
	var encrypted string
	cmd := &cobra.Command{
		Use: "datakey --key KEY --encrypted FILE [flags]", Short: "Make a data key for envelope encryption", GroupID: groupUse,
		Long: `Make a random data key and its encryption under a key. The encrypted data key goes to the file of --encrypted: keep it beside the data;
keyhold decrypt opens it. The data key itself goes to standard output or --out: use it, then erase it.
With --without-plaintext it is not shown at all, and the encrypted one goes to standard output unless --encrypted is given.

The subcommands are about data keys that the server keeps, and re-wraps when their key is rotated.`,
		Example: "  keyhold datakey --key orders --encrypted dek.enc --out dek.bin\n" +
			"  keyhold datakey --key orders --without-plaintext --base64",
		Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			if err := needKey(in.Key); err != nil {
				return err
			}
			if encrypted == "" && !in.WithoutPlaintext && (!a.json() || e.out != "") {
				return usagef("--encrypted FILE keeps it, -o json prints both", "without the encrypted data key, what is encrypted with the data key is lost")
			}
			if err := a.ready(e, "data key"); err != nil {
				return err
			}
			in.Context = client.Context(pairs)
			res, err := c.GenerateDataKey(ctx, in, a.options()...)
			if err != nil {
				return err
			}
			defer clear(res.Plaintext)
			if encrypted != "" {
				if err := a.result(encoding{base64: e.base64, out: encrypted}, "encrypted data key", res.Ciphertext); err != nil {
					return err
				}
			}
			switch {
			case in.WithoutPlaintext && encrypted != "" && !a.json():
				return nil
			case in.WithoutPlaintext:
				return a.deliver(e, "encrypted data key", res.Ciphertext, res, res.KeyID, res.Version)
			}
			return a.deliver(e, "data key", res.Plaintext, res, res.KeyID, res.Version)
		}),
		ValidArgsFunction: fixed(),
	}
	a.keyFlag(cmd, &in.Key, "key: id, name or alias/NAME")
	cmd.Flags().Uint32Var(&in.Length, "length", 32, "bytes, 1 to 1024")
	pairs.flag(cmd, "context", "encryption context; can be repeated")
	cmd.Flags().BoolVar(&in.WithoutPlaintext, "without-plaintext", false, "make the encrypted data key only")
	cmd.Flags().StringVar(&encrypted, "encrypted", "", "file for the encrypted data key")
	e.flags(cmd, "write base64")
	cmd.AddCommand(a.managedCommands()...)
	return cmd
}

func (a *app) macCommand() *cobra.Command {
	var key, verify string
	var version uint32
	var e encoding
	cmd := &cobra.Command{
		Use: "mac --key KEY [FILE] [flags]", Short: "Make or verify a message authentication code", GroupID: groupUse,
		Long: `Make the message authentication code (HMAC) of FILE, or standard input, of at most 64 KiB. With --verify, check the code in that
file instead: status 0 means that it verifies.`,
		Example: "  keyhold mac --key cookies message.txt --out message.mac\n" +
			"  keyhold mac --key cookies --verify message.mac message.txt",
		Args: cobra.MaximumNArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := needKey(key); err != nil {
				return err
			}
			if verify == "" {
				if err := a.ready(e, "code"); err != nil {
					return err
				}
			}
			msg, name, err := a.read(args, maxDirect)
			if err != nil {
				return err
			}
			if verify != "" {
				return a.checkMAC(ctx, c, client.VerifyMACInput{Key: key, Message: msg, Version: version}, verify, e.base64, name)
			}
			res, err := c.GenerateMAC(ctx, client.GenerateMACInput{Key: key, Message: msg, Version: version}, a.options()...)
			if err != nil {
				return err
			}
			return a.deliver(e, "code", res.MAC, res, res.KeyID, res.Version)
		}),
		ValidArgsFunction: first(files),
	}
	a.keyFlag(cmd, &key, "key: id, name or alias/NAME")
	cmd.Flags().StringVar(&verify, "verify", "", "file of a code to verify")
	cmd.Flags().Uint32Var(&version, "version", 0, "version of the key; 0: the primary version")
	e.flags(cmd, "the code is base64")
	cmd.MarkFlagsMutuallyExclusive("verify", "out")
	return cmd
}

// verified is the JSON of a check that succeeded.
type verified struct {
	Verified bool `json:"verified"`
	client.VerifyOutput
}

func (a *app) saidVerified(res client.VerifyOutput, name string) error {
	if a.json() {
		return a.writeJSON(verified{true, res})
	}
	_, err := fmt.Fprintf(a.out, "verified: %s, by key %s version %d (%s)\n", printable(name), printable(res.KeyID), res.Version, printable(res.Scheme))
	return err
}

func (a *app) checkMAC(ctx context.Context, c *client.Client, in client.VerifyMACInput, path string, isBase64 bool, name string) error {
	var err error
	if in.MAC, err = readSmall(path, maxTokenFile); err != nil {
		return err
	}
	if isBase64 {
		if in.MAC, err = unbase64(path, in.MAC); err != nil {
			return err
		}
	}
	res, err := c.VerifyMAC(ctx, in, a.options()...)
	if err != nil {
		return err
	}
	return a.saidVerified(res, name)
}

// random is the JSON of random bytes.
type random struct {
	Random []byte `json:"random"`
}

func (a *app) randomCommand() *cobra.Command {
	var e encoding
	var asHex bool
	cmd := &cobra.Command{
		Use: "random BYTES [flags]", Short: "Random bytes of the server", GroupID: groupUse,
		Long:    "Answer random bytes of the server, 1 to 65536.",
		Example: "  keyhold random 32 --base64\n  keyhold random 16 --hex",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			n, err := strconv.ParseUint(args[0], 10, 32)
			if err != nil || n == 0 || n > maxDirect {
				return usagef("for example: keyhold random 32 --base64", "%q is not a number of bytes from 1 to %d", clip(args[0]), maxDirect)
			}
			if !asHex {
				if err := a.ready(e, "output"); err != nil {
					return err
				}
			}
			b, err := c.GenerateRandom(ctx, uint32(n), a.options()...)
			if err != nil {
				return err
			}
			defer clear(b)
			if asHex && !a.json() {
				text := append(hex.AppendEncode(nil, b), '\n')
				if e.out != "" {
					return writeFile(e.out, text, 0o600)
				}
				_, err := a.out.Write(text)
				return err
			}
			return a.deliver(e, "output", b, random{b}, "", 0)
		}),
		ValidArgsFunction: fixed(),
	}
	e.flags(cmd, "print base64")
	cmd.Flags().BoolVar(&asHex, "hex", false, "print hexadecimal")
	cmd.MarkFlagsMutuallyExclusive("hex", "base64")
	return cmd
}
