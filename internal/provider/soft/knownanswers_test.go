package soft

import (
	"crypto/fips140"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

func TestEveryKnownAnswerIsGiven(t *testing.T) {
	profile := kms.ProfileDefault
	if fips140.Enforced() {
		profile = kms.ProfileFIPS
	}
	for _, k := range knownAnswers() {
		if !k.under(profile) {
			continue
		}
		began := time.Now()
		if err := k.do(); err != nil {
			t.Errorf("%s: %v", k.name, err)
		}
		t.Logf("%s: %s", k.name, time.Since(began))
	}
}

// What is not in Go's FIPS module has a known answer, and what has one may be made.
func TestEveryAlgorithmOutsideTheModuleHasAKnownAnswer(t *testing.T) {
	module := []kms.Algorithm{kms.AES128GCM, kms.AES192GCM, kms.AES256GCM, kms.HMACSHA224, kms.HMACSHA256, kms.HMACSHA384, kms.HMACSHA512, kms.ECDSAP256, kms.ECDSAP384, kms.ECDSAP521,
		kms.ECDHP256, kms.ECDHP384, kms.ECDHP521, kms.Ed25519, kms.RSA2048, kms.RSA3072, kms.RSA4096, kms.MLKEM768, kms.MLKEM1024, kms.HMAC}
	known := map[kms.Algorithm]bool{}
	for _, k := range knownAnswers() {
		for _, a := range k.of {
			known[a] = true
		}
	}
	for _, a := range kms.AllAlgorithms() {
		if slices.Contains(module, a) == known[a] {
			t.Errorf("%s: in the module %v, has a known answer %v", a, slices.Contains(module, a), known[a])
		}
	}
}

// A wrong answer stops the start, if the profile has an algorithm that needs it.
func TestAWrongAnswerStopsTheStart(t *testing.T) {
	ran := 0
	tests := []knownAnswer{{"one that is refused", []kms.Algorithm{kms.XChaCha20Poly1305}, func() error { ran++; return errAnswer }}}
	if err := prove(kms.ProfileFIPS, tests); err != nil || ran != 0 {
		t.Errorf("what the profile refuses was run %d times: %v", ran, err)
	}
	err := prove(kms.ProfileDefault, tests)
	if kms.CodeOf(err) != kms.CodeSelfTest || !errors.Is(err, errAnswer) || ran != 1 {
		t.Errorf("got %v, want %s", err, kms.CodeSelfTest)
	}
	for _, bad := range []error{sameAs([]byte{1}, nil, "02"), sameAs(nil, nil, ""), sameAs(nil, nil, "zz"), sumIs([]byte("x"), nil, "00")} {
		if !errors.Is(bad, errAnswer) {
			t.Errorf("another answer passes: %v", bad)
		}
	}
	if err := sameAs([]byte{1}, os.ErrClosed, "01"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("an error passes: %v", err)
	}
}

// It happens once in a process, however many providers are made.
func BenchmarkKnownAnswers(b *testing.B) {
	if fips140.Enforced() {
		b.Fatal("the default profile is measured")
	}
	for b.Loop() {
		if err := provenAnswers(kms.ProfileDefault); err != nil {
			b.Fatal(err)
		}
	}
}
