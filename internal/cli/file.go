package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/client/envelope"
	"github.com/keyhold/keyhold/internal/kms"
)

// fileSuffix is what the names of encrypted files end with.
const fileSuffix = ".kmse"

func (a *app) fileCommand() *cobra.Command {
	return group(groupUse, "file", "Encrypt files of any size",
		`Encrypt files of any size. The data do not go to the server: each file has a key of its own, which is wrapped in the file's header under
a data key from the server, a passphrase, or public keys. Any one of these opens the file. Header and data are authenticated: a file that
was changed, cut short or put together from others is refused. docs/file-encryption.md explains it, docs/formats-envelope.md has the format.`,
		a.fileEncrypt(), a.fileDecrypt(), a.fileInfo(), a.fileRewrap(), a.fileKeygen())
}

// fileRecipient is the JSON of one recipient.
type fileRecipient struct {
	Kind        string `json:"kind"` // keyhold, passphrase or public-key
	Key         string `json:"key,omitempty"`
	KeyID       string `json:"key_id,omitempty"`
	Version     uint32 `json:"version,omitempty"`
	Shared      bool   `json:"shared,omitempty"` // the data key may serve other files too
	Fingerprint string `json:"fingerprint,omitempty"`
}

func recipientsOf(i envelope.Info) []fileRecipient {
	var all []fileRecipient
	for _, r := range i.Recipients {
		all = append(all, fileRecipient{r.Kind.String(), r.Key, r.KeyID, r.Version, r.Shared, r.Fingerprint})
	}
	return all
}

// recipientNames are lines for people.
func recipientNames(i envelope.Info) []string {
	var all []string
	for _, r := range i.Recipients {
		all = append(all, r.String())
	}
	return all
}

// fileDone is the JSON of one file that was encrypted or decrypted.
type fileDone struct {
	File       string          `json:"file"`
	Out        string          `json:"out"`
	Bytes      int64           `json:"bytes"` // of plaintext
	Recipients []fileRecipient `json:"recipients"`
}

var fileHeads = []string{"FILE", "OUT", "SIZE"}

func (d fileDone) cells() []cell {
	return []cell{plain(d.File), plain(d.Out), plain(size(uint64(d.Bytes)))} //nolint:gosec // G115: not negative
}

// fileError puts the errors of package envelope into words; those of the server and of the system have theirs.
func fileError(err error, name string) error {
	var remote *client.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, envelope.ErrOptions):
		return usagef("keyhold file --help shows the forms", "%v", err)
	case errors.Is(err, envelope.ErrFormat):
		return refusal(kms.CodeBadCiphertext, "pass a file that keyhold file encrypt made, as a whole; keyhold decrypt opens what keyhold encrypt made", "%s: %v", name, err)
	case errors.Is(err, envelope.ErrCorrupt):
		return refusal(kms.CodeDecryptFailed, "fetch the file again, or take it from a backup", "%s: %v", name, envelope.ErrCorrupt)
	case errors.As(err, &remote):
		return err
	case errors.Is(err, envelope.ErrPassphrase):
		return refusal(kms.CodeDecryptFailed, "pass the right passphrase; keyhold file info shows who else can open the file", "%s: %v", name, err)
	case errors.Is(err, envelope.ErrNoIdentity):
		return refusal(kms.CodeDecryptFailed, "pass --identity with a private key or --passphrase-file, or neither to ask the server", "%s: %v", name, err)
	case errors.Is(err, envelope.ErrContext):
		return refusal(kms.CodeDecryptFailed, "keyhold file info shows the context that the file has", "%s: %v", name, err)
	}
	return err
}

// identities are the flags of commands that open files.
type identities struct {
	passphrase string
	private    []string
}

func (i *identities) flags(cmd *cobra.Command) {
	words(cmd, &i.private, "identity", "file that holds a private key (keyhold file keygen); can be repeated")
	cmd.Flags().StringVar(&i.passphrase, "passphrase-file", "", "file that holds the passphrase; -: ask on the terminal, or read standard input")
	must(cmd.RegisterFlagCompletionFunc("identity", files))
	must(cmd.RegisterFlagCompletionFunc("passphrase-file", files))
}

// any tells whether there are identities that need no server.
func (i *identities) any() bool { return i.passphrase != "" || len(i.private) > 0 }

// localIdentities reads the identities that need no server.
func (a *app) localIdentities(i identities) ([]envelope.Identity, error) {
	var all []envelope.Identity
	for _, path := range i.private {
		text, err := readSmall(path, maxTextFile)
		if err != nil {
			return nil, err
		}
		k, err := envelope.ParsePrivateKey(string(text))
		clear(text)
		if err != nil {
			return nil, refusal(kms.CodeBadRequest, "pass a file that keyhold file keygen made", "%s holds no private key: %v", path, err)
		}
		all = append(all, k)
	}
	if i.passphrase != "" {
		p, err := a.secretText(i.passphrase, "passphrase", envelope.MaxPassphrase+2)
		if err != nil {
			return nil, err
		}
		all = append(all, envelope.Passphrase(p))
	}
	return all, nil
}

// publicKey reads a recipient: the text of a public key, or a file that holds it.
func publicKey(given string) (*envelope.PublicKey, error) {
	text := given
	if !strings.HasPrefix(given, "keyhold-public-") {
		b, err := readSmall(given, maxTextFile)
		if err != nil {
			return nil, err
		}
		text = string(b)
	}
	k, err := envelope.ParsePublicKey(text)
	if err != nil {
		return nil, refusal(kms.CodeBadRequest, "pass the public key that keyhold file keygen printed, or a file that holds it", "%s is no public key: %v", clip(given), err)
	}
	return k, nil
}

// fileRecipients are the flags that name recipients.
type fileRecipients struct{ keys, public []string }

func (a *app) recipientFlags(cmd *cobra.Command, r *fileRecipients, keys string) {
	cmd.Flags().StringArrayVarP(&r.keys, "key", "k", nil, keys)
	words(cmd, &r.public, "recipient", "public key, or a file that holds it; can be repeated")
	must(cmd.RegisterFlagCompletionFunc("key", a.completeKeys))
	must(cmd.RegisterFlagCompletionFunc("recipient", files))
}

// list are the recipients that were named; as makes one of a key's name.
func (r *fileRecipients) list(as func(key string) envelope.Recipient) ([]envelope.Recipient, error) {
	var all []envelope.Recipient
	for _, k := range r.keys {
		all = append(all, as(k))
	}
	for _, p := range r.public {
		k, err := publicKey(p)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}

// watched draws how much of a file was read.
type watched struct {
	io.Reader
	p           *progress
	done, total uint64
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	w.done += uint64(n) //nolint:gosec // G115: not negative
	w.p.show(w.done, w.total, size)
	return n, err
}

// source is a file that is read.
type source struct {
	io.Reader
	name   string
	length int64       // 0: not known
	mode   os.FileMode // for what is written instead of it
	close  func()
}

// source opens a file to read, with a bar if somebody looks.
func (a *app) source(name, label string) (*source, error) {
	r, shown, err := a.input([]string{name})
	if err != nil {
		return nil, err
	}
	s := &source{Reader: r, name: shown, mode: 0o600}
	p := a.progress(label + " " + printable(shown))
	s.close = func() {
		p.end()
		_ = r.Close() // it was only read
	}
	if f, ok := r.(*os.File); ok {
		st, err := f.Stat()
		if err != nil {
			s.close()
			return nil, err
		}
		if st.IsDir() {
			s.close()
			return nil, refusal(kms.CodeBadRequest, "name the files in it, or make an archive: tar -c DIR | keyhold file encrypt --key KEY - --out DIR.tar"+fileSuffix, "%s is a directory", name)
		}
		if st.Mode().IsRegular() {
			s.length, s.mode = st.Size(), st.Mode().Perm()
		}
	}
	if p.to != nil {
		s.Reader = &watched{Reader: s.Reader, p: p, total: uint64(s.length)} //nolint:gosec // G115: not negative
	}
	return s, nil
}

// fileWork turns the files of a command line, one after the other.
func (a *app) fileWork(ctx context.Context, args []string, out string, do func(context.Context, string) (fileDone, error)) error {
	if len(args) > 1 && out != "" {
		return usagef("without --out each file gets its name from its source", "--out names one file, and there are %d", len(args))
	}
	if out == stdStream || out == "" && len(args) > 0 && args[0] == stdStream {
		if len(args) > 1 {
			return usagef("name files only, or standard input only", "- stands for standard input, beside other files")
		}
		if a.json() {
			return usagef("--out FILE keeps them apart", "the data and the JSON would both go to standard output")
		}
		_, err := do(ctx, args[0])
		return err
	}
	return listing(a, "files", 0, func(yield func(fileDone, error) bool) {
		for _, name := range args {
			if d, err := do(ctx, name); !yield(d, err) || err != nil {
				return
			}
		}
	}, fileHeads, fileDone.cells)
}
