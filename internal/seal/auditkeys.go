package seal

import (
	"crypto/ed25519"
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"github.com/keyhold/keyhold/internal/kdf"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// AuditName is the name of a cluster's audit log in signed notes.
func AuditName(cluster kms.ID) string { return "keyhold." + cluster.String() }

// RollAuditKeys makes a new MAC key and a new signing key, which the old one endorses. The old signing key is gone from
// the new blob: whoever takes the root later cannot sign in its name. Old MAC keys stay, to verify what they protect.
// Errors: CodeTooLarge, CodeSealed.
func (k *Keychain) RollAuditKeys(r *Root) (*Keychain, []byte, error) {
	if k.erased() {
		return nil, nil, errErased()
	}
	if len(k.audit) >= MaxAuditKeys {
		return nil, nil, kms.Errorf(kms.CodeTooLarge, "there are %d audit keys, the limit is %d", len(k.audit), MaxAuditKeys)
	}
	n := k.clone()
	n.sign.Zero()
	n.sign = secret.Random(ed25519.SeedSize)
	e := auditKey{epoch: k.AuditEpoch() + 1, mac: secret.Random(keychainKey), public: publicOf(n.sign)}
	text, err := endorsementText(k.cluster, e)
	if err != nil {
		n.Zero()
		return nil, nil, err
	}
	sig, err := k.signer.Sign([]byte(text))
	if err != nil {
		n.Zero()
		return nil, nil, errErased().Because(err)
	}
	e.endorsed = [ed25519.SignatureSize]byte(sig)
	n.audit = append(n.audit, e)
	return n.finish(r)
}

// AuditEpoch is the epoch of the audit keys in use.
func (k *Keychain) AuditEpoch() uint32 { return k.audit[len(k.audit)-1].epoch }

// MAC is HMAC-SHA-256 over the parts, one after the other without separation, under the audit MAC key of an epoch.
// Errors: CodeNotFound if there is no such epoch, CodeSealed.
func (k *Keychain) MAC(epoch uint32, parts ...[]byte) (mac [32]byte, err error) {
	for i := len(k.audit) - 1; i >= 0; i-- {
		a := &k.audit[i]
		if a.epoch != epoch {
			continue
		}
		if a.mac.Len() == 0 {
			return [32]byte{}, errErased()
		}
		return kdf.MAC(a.mac.Reveal(reveal.Key{}), parts...), nil
	}
	return [32]byte{}, kms.Errorf(kms.CodeNotFound, "there is no audit key of epoch %d", epoch)
}

// VerifyMAC compares in constant time. Errors: CodeBadMAC, CodeNotFound, CodeSealed.
func (k *Keychain) VerifyMAC(epoch uint32, mac []byte, parts ...[]byte) error {
	want, err := k.MAC(epoch, parts...)
	if err != nil {
		return err
	}
	if !hmac.Equal(want[:], mac) {
		return kms.Errorf(kms.CodeBadMAC, "the MAC does not verify under the audit key of epoch %d", epoch)
	}
	return nil
}

// Signer signs checkpoints in the cluster's name.
func (k *Keychain) Signer() note.Signer { return k.signer }

// PublicKey is the verifier key text of the current signing key (C2SP signed-note), to be pinned.
func (k *Keychain) PublicKey() string { return k.signer.verifier }

// PublicKeys lists the verifier key texts of all epochs, oldest first.
func (k *Keychain) PublicKeys() ([]string, error) {
	out := make([]string, 0, len(k.audit))
	for _, a := range k.audit {
		v, err := verifierKey(k.cluster, a.public)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// Endorsements are signed notes, one for each signing key but the first: the key of the epoch before states which key
// comes after it. Whoever pinned any of the keys can follow them to the current one.
func (k *Keychain) Endorsements() ([][]byte, error) {
	var out [][]byte
	for i := 1; i < len(k.audit); i++ {
		text, err := endorsementText(k.cluster, k.audit[i])
		if err != nil {
			return nil, err
		}
		old, err := verifierKey(k.cluster, k.audit[i-1].public)
		if err != nil {
			return nil, err
		}
		v, err := note.NewVerifier(old)
		if err != nil {
			return nil, fmt.Errorf("verifier key: %w", err)
		}
		sig := binary.BigEndian.AppendUint32(nil, v.KeyHash())
		sig = append(sig, k.audit[i].endorsed[:]...)
		out = append(out, fmt.Appendf(nil, "%s\n— %s %s\n", text, v.Name(), base64.StdEncoding.EncodeToString(sig)))
	}
	return out, nil
}

// endorsementText is what the old key signs.
func endorsementText(cluster kms.ID, next auditKey) (string, error) {
	v, err := verifierKey(cluster, next.public)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("keyhold audit key v1\n%s\n%d\n%s\n", AuditName(cluster), next.epoch, v), nil
}

func verifierKey(cluster kms.ID, public [ed25519.PublicKeySize]byte) (string, error) {
	v, err := note.NewEd25519VerifierKey(AuditName(cluster), public[:])
	if err != nil {
		return "", fmt.Errorf("verifier key: %w", err)
	}
	return v, nil
}

func publicOf(seed *secret.Bytes) (out [ed25519.PublicKeySize]byte) {
	raw := seed.Reveal(reveal.Key{})
	if len(raw) != ed25519.SeedSize {
		return out
	}
	secret.Do(func() {
		key := ed25519.NewKeyFromSeed(raw)
		copy(out[:], key[ed25519.SeedSize:])
		clear(key)
	})
	return out
}

// signer is a note.Signer whose key is a secret.
type signer struct {
	name     string
	hash     uint32
	verifier string
	seed     *secret.Bytes // the keychain's
}

func newSigner(cluster kms.ID, seed *secret.Bytes) (*signer, error) {
	verifier, err := verifierKey(cluster, publicOf(seed))
	if err != nil {
		return nil, err
	}
	v, err := note.NewVerifier(verifier)
	if err != nil {
		return nil, fmt.Errorf("verifier key: %w", err)
	}
	return &signer{v.Name(), v.KeyHash(), verifier, seed}, nil
}

func (s *signer) Name() string    { return s.name }
func (s *signer) KeyHash() uint32 { return s.hash }

// Sign expands the seed for each signature: checkpoints are seldom signed. The expanded key has to be on the Go heap, for ed25519
// refers to it weakly; it is erased at once, and what ed25519 made of it when it is collected.
func (s *signer) Sign(msg []byte) (sig []byte, err error) {
	seed := s.seed.Reveal(reveal.Key{})
	if len(seed) != ed25519.SeedSize {
		return nil, errErased()
	}
	sig = make([]byte, ed25519.SignatureSize)
	secret.Do(func() {
		key := ed25519.NewKeyFromSeed(seed)
		copy(sig, ed25519.Sign(key, msg))
		clear(key)
	})
	return sig, nil
}
