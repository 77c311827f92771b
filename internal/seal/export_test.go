package seal

import (
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// Fault decides about one step of a change of files: it may do it, or fail, or both.
type Fault = func(step, path string, do func() error) error

// CreateEpochsOn is CreateEpochs on a disk that fails.
func CreateEpochsOn(f Fault, d Dirs, r *Root, c *Config, now time.Time) (*Epochs, error) {
	return createEpochs(disk{fault: f}, d, r, c, now)
}

// OpenEpochsOn is OpenEpochs on a disk that fails.
func OpenEpochsOn(f Fault, d Dirs, r *Root, newest uint32) (*Epochs, error) {
	return openEpochs(disk{fault: f}, d, r, newest)
}

// CheckEscrow opens an escrow copy and restores nothing.
func CheckEscrow(r *Root, p *Private, data []byte) (uint32, error) {
	one, err := r.openEscrow(p, data)
	if err != nil {
		return 0, err
	}
	return one.number, nil
}

// OfCluster is the same root key under another cluster's name.
func (r *Root) OfCluster(id kms.ID) *Root { return &Root{cluster: id, keys: r.keys} }

// OpenFile opens the content of an epoch's file.
func (r *Root) OpenFile(number uint32, data []byte) error {
	_, err := r.openEpoch(number, data)
	return err
}

// Names of epoch files.
func EpochName(number uint32) string  { return epochName(number, epochSuffix) }
func EscrowName(number uint32) string { return epochName(number, escrowSuffix) }

// KeychainForm decodes and encodes a keychain's content.
func KeychainForm(plain []byte) ([]byte, bool) {
	k, ok := decodeKeychain(plain)
	if !ok {
		return nil, false
	}
	out, err := k.encode()
	return out, err == nil
}

// KeychainPlain opens a keychain's blob and gives its content.
func KeychainPlain(r *Root, blob []byte) []byte {
	plain, _ := r.openKeychain(blob)
	return plain
}

// EscrowForm tells whether bytes have the form of an escrow file, and the length of what its MAC covers.
func EscrowForm(data []byte) (body int, ok bool) {
	x, ok := parseEscrow(data)
	if !ok {
		return 0, false
	}
	return len(x.body), true
}

// Secrets copies the bytes of every key that the values hold.
func Secrets(r *Root, k *Keychain, e *Epochs, kek *KEK) (out [][]byte) {
	add := func(s *secret.Bytes) { out = append(out, append([]byte(nil), s.Reveal(reveal.Key{})...)) }
	for _, g := range r.keys {
		add(g.raw)
	}
	for _, s := range []*secret.Bytes{k.index, k.alias, k.page, k.sign, kek.raw} {
		add(s)
	}
	for _, s := range k.store {
		add(s.key)
	}
	for _, a := range k.audit {
		add(a.mac)
	}
	for _, one := range e.live {
		add(one.raw)
	}
	return out
}
