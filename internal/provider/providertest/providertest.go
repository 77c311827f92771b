// Package providertest is the contract of package provider as executable tests. Every provider runs it: a
// software one, later a hardware one. It sees the port alone: nothing here knows how material is kept.
//
// Signatures and RSA ciphertexts are checked against another implementation as an independent second opinion.
package providertest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/wire/blob"
)

// Options say which provider is tested.
type Options struct {
	// New makes a provider; it is called once for each group of tests.
	New func(t *testing.T) provider.Provider
	// Algorithms are those that the provider must support; each other one must be refused with CodeAlgorithm or CodeProfile.
	Algorithms []kms.Algorithm
	Profile    kms.Profile
	// Thorough flips every bit of what is authenticated; otherwise one bit of every byte.
	Thorough bool
	// Small leaves out the slow algorithms but the quickest, RSA-2048, where a whole run has been done before.
	Small bool
}

var place = []byte("key/0192f000-0000-7000-8000-00000000002a/1")

// Run runs the whole contract.
func Run(t *testing.T, o Options) {
	t.Run("material", func(t *testing.T) { o.material(t, o.New(t)) })
	t.Run("lengths", func(t *testing.T) { o.lengths(t, o.New(t)) })
	t.Run("pairs", func(t *testing.T) { o.pairs(t, o.New(t)) })
	t.Run("transfer", func(t *testing.T) { o.transfer(t, o.New(t)) })
	t.Run("operations", func(t *testing.T) { o.operations(t, o.New(t)) })
	t.Run("closed", func(t *testing.T) { o.closed(t, o.New(t)) })
	t.Run("random", func(t *testing.T) { random(t, o.New(t)) })
	t.Run("unknown algorithms", func(t *testing.T) { o.unknown(t, o.New(t)) })
}

// wrapping makes a fresh wrapping key.
func wrapping(t *testing.T) *box.Key {
	t.Helper()
	k, err := box.NewKey(secret.Random(box.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// made is one generated version with its handle.
type made struct {
	provider.Generated
	provider.Handle
	algorithm kms.Algorithm
	wrap      *box.Key
}

func (o Options) make(t *testing.T, p provider.Provider, a kms.Algorithm) made {
	t.Helper()
	wrap := wrapping(t)
	g, err := p.Generate(provider.Spec{Algorithm: a}, wrap, place)
	if err != nil {
		t.Fatalf("generate %s: %v", a, because(err))
	}
	g.Handle.Close()
	h, err := p.Open(a, g.Wrapped, wrap, place, g.Check)
	if err != nil {
		t.Fatalf("open %s: %v", a, because(err))
	}
	t.Cleanup(h.Close)
	return made{Generated: g, Handle: h, algorithm: a, wrap: wrap}
}

// because shows the internal reason of an error too.
func because(err error) string {
	if cause := errors.Unwrap(err); cause != nil {
		return fmt.Sprintf("%v (%v)", err, cause)
	}
	return err.Error()
}

// wantCode fails the test if an error has not exactly one code and is not a *kms.Error.
func wantCode(t *testing.T, what string, err error, want kms.Code) {
	t.Helper()
	var e *kms.Error
	if !errors.As(err, &e) {
		t.Errorf("%s: got %v want %s", what, err, want)
		return
	}
	if e.Code != want {
		t.Errorf("%s: got %v want %s", what, because(err), want)
	}
}

// flips yields copies of b with one bit changed: every bit if all is set, else one of every byte.
func flips(b []byte, all bool) func(func(at int, flipped []byte) bool) {
	return func(yield func(int, []byte) bool) {
		for i := range b {
			for bit := range 8 {
				if !all && bit != i%8 {
					continue
				}
				c := bytes.Clone(b)
				c[i] ^= 1 << bit
				if !yield(i, c) {
					return
				}
			}
		}
	}
}

func random(t *testing.T, p provider.Provider) {
	if err := p.Healthy(); err != nil {
		t.Errorf("it is not well: %v", err)
	}
	seen := map[string]bool{}
	for range 64 {
		b, err := p.Random(32)
		if err != nil || len(b) != 32 || seen[string(b)] {
			t.Fatalf("32 random bytes: got %d, %v, seen before: %v", len(b), err, seen[string(b)])
		}
		seen[string(b)] = true
	}
	for _, n := range []int{1, 4096} {
		if b, err := p.Random(n); err != nil || len(b) != n {
			t.Errorf("%d random bytes: got %d, %v", n, len(b), err)
		}
	}
	for _, n := range []int{0, -1, -1 << 63} {
		_, err := p.Random(n)
		wantCode(t, fmt.Sprintf("%d random bytes", n), err, kms.CodeBadRequest)
	}
	_, err := p.Random(1 << 62)
	wantCode(t, "far too many random bytes", err, kms.CodeTooLarge)
}

func (o Options) unknown(t *testing.T, p provider.Provider) {
	supported := map[kms.Algorithm]bool{}
	for _, a := range o.Algorithms {
		supported[a] = true
	}
	for i := range 256 {
		a := kms.Algorithm(i) //nolint:gosec // G115: below 256
		if supported[a] {
			continue
		}
		_, err := p.Generate(provider.Spec{Algorithm: a}, wrapping(t), place)
		if code := kms.CodeOf(err); code != kms.CodeAlgorithm && code != kms.CodeProfile {
			t.Errorf("generate %s: got %v want %s or %s", a, err, kms.CodeAlgorithm, kms.CodeProfile)
		}
		_, _, err = p.GeneratePair(a)
		if code := kms.CodeOf(err); code != kms.CodeAlgorithm && code != kms.CodeProfile {
			t.Errorf("a pair of %s: got %v want %s or %s", a, err, kms.CodeAlgorithm, kms.CodeProfile)
		}
		_, err = p.Open(a, make([]byte, 200), wrapping(t), place, make([]byte, 8))
		if code := kms.CodeOf(err); code != kms.CodeAlgorithm && code != kms.CodeProfile {
			t.Errorf("open %s: got %v want %s or %s", a, err, kms.CodeAlgorithm, kms.CodeProfile)
		}
	}
}

// closed: a closed handle fails cleanly, and closing during operations neither races nor lets one fail halfway.
func (o Options) closed(t *testing.T, p provider.Provider) {
	for _, a := range o.Algorithms {
		if slower(a) {
			continue // one RSA size shows it
		}
		m := o.make(t, p, a)
		var users sync.WaitGroup
		begun := make(chan struct{}, 4)
		for range 4 {
			users.Go(func() {
				for i := 0; ; i++ {
					err := useOnce(m.Handle, a)
					if i == 0 {
						begun <- struct{}{}
					}
					if err != nil {
						wantCode(t, a.String()+" closed under way", err, kms.CodeInternal)
						return
					}
				}
			})
		}
		for range 4 {
			<-begun
		}
		m.Close()
		users.Wait()
		m.Close()
		for what, err := range everyMethod(m.Handle, a) {
			if code := kms.CodeOf(err); code != kms.CodeInternal && code != kms.CodeAlgorithm && code != kms.CodeUsage {
				t.Errorf("%s, %s after close: got %v want %s", a, what, err, kms.CodeInternal)
			}
		}
		for _, u := range a.Usages() {
			wantCode(t, fmt.Sprintf("%s, %s after close", a, u), use(m.Handle, a, u), kms.CodeInternal)
		}
	}
}

// slower algorithms are those that take longer than RSA-2048 to generate.
func slower(a kms.Algorithm) bool { return a.Facts().Slow && a != kms.RSA2048 }

// useOnce does one operation of each usage of an algorithm.
func useOnce(h provider.Handle, a kms.Algorithm) error {
	for _, u := range a.Usages() {
		if err := use(h, a, u); err != nil {
			return err
		}
	}
	return nil
}

func use(h provider.Handle, a kms.Algorithm, u kms.Usage) error {
	var err error
	switch u {
	case kms.EncryptDecrypt:
		_, err = h.Seal(nil, header(), []byte("in use"), nil, kms.NoScheme)
	case kms.SignVerify:
		_, err = h.Sign([]byte("in use"), kms.Form{}, kms.NoScheme)
	case kms.MAC:
		_, err = h.MAC(nil, []byte("in use"), kms.NoScheme)
	case kms.KeyAgreement:
		_, err = h.Agree(peerOf(a))
	case kms.Encapsulation:
		_, _, err = h.Encapsulate()
	case kms.Wrapping:
		_, err = h.Seal(nil, nil, []byte("in use"), nil, kms.NoScheme)
	case kms.FormatPreserving:
		_, err = h.Format(nil, 10, nil, make([]uint16, 16), false)
	}
	return err
}

// everyMethod calls every method once and gives its error.
func everyMethod(h provider.Handle, a kms.Algorithm) map[string]error {
	errs := map[string]error{}
	_, errs["seal"] = h.Seal(nil, header(), []byte("x"), nil, a.DefaultScheme(cipherUsage(a)))
	_, errs["open"] = h.Open(nil, header(), make([]byte, 512), nil, a.DefaultScheme(cipherUsage(a)))
	_, errs["sign"] = h.Sign([]byte("x"), kms.Form{}, a.DefaultScheme(kms.SignVerify))
	errs["verify"] = h.Verify([]byte("x"), make([]byte, 64), kms.Form{}, a.DefaultScheme(kms.SignVerify))
	_, errs["mac"] = h.MAC(nil, []byte("x"), a.DefaultScheme(kms.MAC))
	errs["verify mac"] = h.VerifyMAC([]byte("x"), make([]byte, 32), a.DefaultScheme(kms.MAC))
	_, errs["agree"] = h.Agree([]byte("x"))
	_, _, errs["encapsulate"] = h.Encapsulate()
	_, errs["decapsulate"] = h.Decapsulate([]byte("x"))
	_, errs["format"] = h.Format(nil, 10, nil, make([]uint16, 16), false)
	return errs
}

// cipherUsage is what Seal and Open do with an algorithm: wrap key material, or encrypt data.
func cipherUsage(a kms.Algorithm) kms.Usage {
	if a.DefaultScheme(kms.Wrapping) != kms.NoScheme {
		return kms.Wrapping
	}
	return kms.EncryptDecrypt
}

func header() []byte {
	return blob.AppendHeader(nil, blob.Header{Suite: blob.Software, Key: kms.ID{15: 42}, Version: 1})
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) //nolint:errcheck // never fails since Go 1.24
	return b
}
