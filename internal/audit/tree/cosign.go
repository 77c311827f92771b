package tree

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/mod/sumdb/note"
)

// What a cosignature is made of (C2SP tlog-cosignature, the Ed25519 type).
const (
	algCosignature = 4 // C2SP signed-note, "Signature types"
	cosignHeader   = "cosignature/v1\n"
	stampBytes     = 8
	cosignBytes    = stampBytes + ed25519.SignatureSize
	maxKeyName     = 255

	// MaxWitnesses is how many witnesses a policy can have. A checkpoint with all their cosignatures stays below MaxNote.
	MaxWitnesses = 16
)

// ErrWitnessKey says that a text is not the verifier key of a witness.
var ErrWitnessKey = errors.New("not the verifier key of a witness")

// Witness is the public key of a witness. It is a note.Verifier for its cosignatures.
type Witness struct {
	name   string
	hash   uint32
	public ed25519.PublicKey
}

// NewWitness is the witness of a name and an Ed25519 public key of 32 bytes.
func NewWitness(name string, public []byte) (*Witness, error) {
	if name == "" || len(name) > maxKeyName || strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r == '+' || r == unicode.ReplacementChar
	}) {
		return nil, fmt.Errorf("%w: a name has 1 to %d bytes, no space and no plus sign", ErrWitnessKey, maxKeyName)
	}
	if len(public) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%w: the public key has %d bytes, want %d", ErrWitnessKey, len(public), ed25519.PublicKeySize)
	}
	return &Witness{name, binary.BigEndian.Uint32(keyID(name, public)), bytes.Clone(public)}, nil
}

// keyID is SHA-256(name ‖ LF ‖ type ‖ public key), of which the first four bytes count (C2SP tlog-cosignature, "Format").
func keyID(name string, public []byte) []byte {
	h := sha256.New()
	h.Write([]byte(name))                 //nolint:errcheck // never fails
	h.Write([]byte{'\n', algCosignature}) //nolint:errcheck // never fails
	h.Write(public)                       //nolint:errcheck // never fails
	return h.Sum(nil)[:4]
}

// ParseWitness reads a verifier key: NAME+HASH+KEY, of type 0x04 (C2SP signed-note, "Verifier keys").
func ParseWitness(vkey string) (*Witness, error) {
	bad := func(why string) (*Witness, error) { return nil, fmt.Errorf("%w: %s", ErrWitnessKey, why) }
	const most = 4 * maxKeyName
	name, rest, ok := strings.Cut(vkey, "+")
	_, key, ok2 := strings.Cut(rest, "+")
	if !ok || !ok2 || len(vkey) > most {
		return bad("want NAME+HASH+KEY")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(key)
	if err != nil || len(raw) != 1+ed25519.PublicKeySize {
		return bad("the key is not the base64 of a type and 32 bytes")
	}
	if raw[0] != algCosignature {
		return bad(fmt.Sprintf("its type is %#02x; a witness that cosigns with Ed25519 has %#02x", raw[0], algCosignature))
	}
	w, err := NewWitness(name, raw[1:])
	if err != nil {
		return nil, err
	}
	if w.Key() != vkey {
		return bad("name, hash and key do not belong together")
	}
	return w, nil
}

// ParseWitnesses reads verifier keys, one a line. Empty lines and lines that start with # are skipped. The same key twice, under whatever
// name, is refused: it would count twice.
func ParseWitnesses(text []byte) ([]*Witness, error) {
	var all []*Witness
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		w, err := ParseWitness(line)
		if err != nil {
			return nil, err
		}
		if all, err = AddWitness(all, w); err != nil {
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: there is none", ErrWitnessKey)
	}
	return all, nil
}

// AddWitness adds a witness to those of a policy.
func AddWitness(all []*Witness, w *Witness) ([]*Witness, error) {
	for _, o := range all {
		if o.public.Equal(w.public) || o.name == w.name && o.hash == w.hash {
			return nil, fmt.Errorf("%w: the key of %s is there twice", ErrWitnessKey, w.name)
		}
	}
	if len(all) == MaxWitnesses {
		return nil, fmt.Errorf("%w: there are more than %d", ErrWitnessKey, MaxWitnesses)
	}
	return append(all, w), nil
}

// Name implements note.Verifier.
func (w *Witness) Name() string { return w.name }

// KeyHash implements note.Verifier.
func (w *Witness) KeyHash() uint32 { return w.hash }

// Key is the verifier key as text.
func (w *Witness) Key() string {
	return fmt.Sprintf("%s+%08x+", w.name, w.hash) + base64.StdEncoding.EncodeToString(append([]byte{algCosignature}, w.public...))
}

// Verify implements note.Verifier: sig is a timestamp and an Ed25519 signature.
func (w *Witness) Verify(text, sig []byte) bool {
	if len(sig) != cosignBytes {
		return false
	}
	at := binary.BigEndian.Uint64(sig)
	return at <= math.MaxInt64 && ed25519.Verify(w.public, CosignedMessage(string(text), at), sig[stampBytes:])
}

// CosignedMessage is what a witness signs: two lines, and the text of the checkpoint. at is in seconds since 1970.
func CosignedMessage(text string, at uint64) []byte {
	return []byte(cosignHeader + "time " + strconv.FormatUint(at, 10) + "\n" + text)
}

// Cosign makes the signature line of a witness under a checkpoint's text. sign makes an Ed25519 signature.
func (w *Witness) Cosign(text string, at time.Time, sign func(msg []byte) ([]byte, error)) (line string, err error) {
	stamp := uint64(max(at.Unix(), 0)) //nolint:gosec // G115: not negative
	sig, err := sign(CosignedMessage(text, stamp))
	if err != nil {
		return "", fmt.Errorf("cosign checkpoint: %w", err)
	}
	raw := binary.BigEndian.AppendUint32(nil, w.hash)
	raw = append(binary.BigEndian.AppendUint64(raw, stamp), sig...)
	if !w.Verify([]byte(text), raw[4:]) { // a key that failed, or was erased meanwhile, cosigns nothing
		return "", errors.New("cosign checkpoint: the signature does not verify")
	}
	return "— " + w.name + " " + base64.StdEncoding.EncodeToString(raw) + "\n", nil
}

// Cosignature says who vouches for a checkpoint, and since when.
type Cosignature struct {
	Witness *Witness
	At      time.Time
	Line    string // as it stands in the note
}

// Cosignatures finds those of known witnesses under a note. A cosignature of a known witness that does not verify is an error (C2SP
// signed-note, "Signatures"); those of others are passed over.
func Cosignatures(msg []byte, known []*Witness) ([]Cosignature, error) {
	if len(known) == 0 {
		return nil, nil
	}
	if len(msg) > MaxNote {
		return nil, fmt.Errorf("%w: too long", ErrCheckpoint)
	}
	list := make([]note.Verifier, len(known))
	for i, w := range known {
		list[i] = w
	}
	n, err := note.Open(msg, note.VerifierList(list...))
	var none *note.UnverifiedNoteError
	if errors.As(err, &none) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cosignature: %w", err)
	}
	var all []Cosignature
	for _, sig := range n.Sigs {
		raw, err := base64.StdEncoding.DecodeString(sig.Base64)
		if err != nil || len(raw) != 4+cosignBytes {
			return nil, fmt.Errorf("%w: a cosignature has no timestamp", ErrCheckpoint)
		}
		for _, w := range known {
			if w.name == sig.Name && w.hash == sig.Hash {
				at := time.Unix(int64(binary.BigEndian.Uint64(raw[4:])), 0).UTC() //nolint:gosec // G115: Verify bounds it
				all = append(all, Cosignature{w, at, "— " + sig.Name + " " + sig.Base64 + "\n"})
			}
		}
	}
	return all, nil
}
