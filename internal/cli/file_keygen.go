package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client/envelope"
)

// fileKeyPair is the JSON of a new key pair.
type fileKeyPair struct {
	Out         string `json:"out"` // holds the private key
	PublicKey   string `json:"public_key"`
	Fingerprint string `json:"fingerprint"`
}

func (a *app) fileKeygen() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "keygen --out FILE", Short: "Make a key pair that opens files without a server",
		Long: `Make a key pair for files: HPKE with X25519 and ML-KEM-768, which a quantum computer does not break either. The private key goes to a new file
that only you can read; the public key is printed: give it to those who encrypt for you (--recipient). A lost private key
cannot be replaced.`,
		Example: "  keyhold file keygen --out laptop.key",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if out == "" {
				return usagef("for example --out laptop.key", "the private key needs a file")
			}
			k, err := envelope.GenerateKey()
			if err != nil {
				return err
			}
			text, err := k.Export()
			if err != nil {
				return err
			}
			if err := writeOnce(out, []byte(text+"\n")); err != nil {
				return err
			}
			public := k.Public()
			if a.json() {
				return a.writeJSON(fileKeyPair{out, public.String(), public.Fingerprint()})
			}
			_, err = fmt.Fprintln(a.out, public)
			return err
		},
		ValidArgsFunction: fixed(),
	}
	cmd.Flags().StringVar(&out, "out", "", "new file for the private key (mode 0600)")
	must(cmd.RegisterFlagCompletionFunc("out", files))
	return cmd
}
