package seal

import "fmt"

// Values that hold keys print as what they are, whatever the verb: fmt follows no unexported pointer to a secret's own
// redaction, so each says it itself.

func hidden(f fmt.State, what string) { _, _ = fmt.Fprintf(f, "[%s, redacted]", what) }

// Format hides the key from every verb.
func (r *Root) Format(f fmt.State, _ rune) { hidden(f, "root key") }

// Format hides the key from every verb.
func (p *Private) Format(f fmt.State, _ rune) { hidden(f, "recipient's private key") }

// Format hides the shares from every verb.
func (c *Collector) Format(f fmt.State, _ rune) { hidden(f, "share collector") }

// Format hides the keys from every verb.
func (k *Keychain) Format(f fmt.State, _ rune) { hidden(f, "keychain") }

// Format hides the key from every verb.
func (k *KEK) Format(f fmt.State, _ rune) { hidden(f, "KEK") }

// Format hides the keys from every verb.
func (e *Epochs) Format(f fmt.State, _ rune) { hidden(f, "epoch KEKs") }

// Format hides the key from every verb.
func (s *signer) Format(f fmt.State, _ rune) { hidden(f, "audit signer") }
