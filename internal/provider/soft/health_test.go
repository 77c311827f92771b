package soft

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/secret"
)

// source is a random source that a test can break.
type source struct {
	r    *rand.ChaCha8
	bend func(b []byte) error // nil: sound
}

func newSource() *source { return &source{r: rand.NewChaCha8([32]byte{1})} }

func (s *source) Read(b []byte) (int, error) {
	s.r.Read(b) //nolint:errcheck // never fails
	if s.bend != nil {
		if err := s.bend(b); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func stuck(b []byte) error {
	for i := range b {
		b[i] = 0x5a
	}
	return nil
}

// biased gives one byte every fourth time, never twice in a row.
func biased(b []byte) error {
	for i := 0; i < len(b); i += 4 {
		b[i] = 0x5a
	}
	return nil
}

var errGone = errors.New("device gone")

func gone([]byte) error { return errGone }

var brokenSources = map[string]func([]byte) error{"stuck": stuck, "biased": biased, "gone": gone}

func wrapKey(t testing.TB) *box.Key {
	t.Helper()
	k, err := box.NewKey(secret.Random(box.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestABrokenSourceStopsTheStart(t *testing.T) {
	for name, bend := range brokenSources {
		s := newSource()
		s.bend = bend
		if p, err := New(Config{Random: s}); kms.CodeOf(err) != kms.CodeRandomness || p != nil {
			t.Errorf("%s: got %v want %s", name, err, kms.CodeRandomness)
		}
	}
	if _, err := New(Config{Random: bytes.NewReader(make([]byte, 100))}); kms.CodeOf(err) != kms.CodeRandomness {
		t.Errorf("a source that ends: got %v want %s", err, kms.CodeRandomness)
	}
}

// TestNothingIsMadeFromABrokenSource: every algorithm, and plain random bytes, once the source breaks while in use.
func TestNothingIsMadeFromABrokenSource(t *testing.T) {
	for name, bend := range brokenSources {
		for _, a := range kms.AllAlgorithms() {
			if !makes(a) {
				continue
			}
			s := newSource()
			p, err := New(Config{Random: s})
			if err != nil {
				t.Fatal(err)
			}
			s.bend = bend
			// A bias shows over a window, so let the source be used as a server would.
			var last error
			for range proportionWindow {
				if _, last = p.Random(32); last != nil {
					break
				}
			}
			if kms.CodeOf(last) != kms.CodeRandomness {
				t.Fatalf("%s: random: got %v want %s", name, last, kms.CodeRandomness)
			}
			if made, err := p.Generate(provider.Spec{Algorithm: a}, wrapKey(t), []byte("p")); kms.CodeOf(err) != kms.CodeRandomness || made.Wrapped != nil || made.Public != nil {
				t.Errorf("%s: %s: got %d bytes, %v want %s", name, a, len(made.Wrapped), err, kms.CodeRandomness)
			}
			if k := kindOf(a); k.form != pkcs8Form && k.pkcs8 == nil {
				continue
			}
			if public, private, err := p.GeneratePair(a); kms.CodeOf(err) != kms.CodeRandomness || public != nil || private != nil {
				t.Errorf("%s: a pair of %s: got %v want %s", name, a, err, kms.CodeRandomness)
			}
		}
	}
}

func TestAFailedHealthTestIsFinalAndAnErrorIsNot(t *testing.T) {
	for name, final := range map[string]bool{"stuck": true, "biased": true, "gone": false} {
		s := newSource()
		p, err := New(Config{Random: s})
		if err != nil {
			t.Fatal(err)
		}
		s.bend = brokenSources[name]
		for range proportionWindow {
			if _, err = p.Random(32); err != nil {
				break
			}
		}
		s.bend = nil
		if _, again := p.Random(32); err == nil || (again != nil) != final {
			t.Errorf("%s: failed with %v, then %v; final: %v", name, err, again, final)
		}
	}
}

// TestWhatFailedIsNotSeen: the bytes of a failed read do not leave.
func TestWhatFailedIsNotSeen(t *testing.T) {
	for name, bend := range brokenSources {
		s := newSource()
		tested := &tested{from: s}
		s.bend = bend
		b := bytes.Repeat([]byte{1}, 8192)
		if err := tested.fill(b); err == nil || !bytes.Equal(b, make([]byte, 8192)) {
			t.Errorf("%s: got %v, erased: %v", name, err, bytes.Equal(b, make([]byte, 8192)))
		}
	}
}

// TestCutoffsAreThoseOfTheStandard computes both cutoffs from SP 800-90B §4.4 for H = 4 bits a byte and a false alarm in 2^40.
func TestCutoffsAreThoseOfTheStandard(t *testing.T) {
	const entropy, alpha = 4, 40
	if want := 1 + int(math.Ceil(float64(alpha)/entropy)); repetitionCutoff != want {
		t.Errorf("repetition cutoff got %d want %d", repetitionCutoff, want)
	}
	tail, critical := 0.0, proportionWindow
	for ; ; critical-- {
		lgN, _ := math.Lgamma(proportionWindow + 1)
		lgK, _ := math.Lgamma(float64(critical) + 1)
		lgR, _ := math.Lgamma(float64(proportionWindow-critical) + 1)
		p := math.Exp2(-entropy)
		tail += math.Exp(lgN - lgK - lgR + float64(critical)*math.Log(p) + float64(proportionWindow-critical)*math.Log1p(-p))
		if tail > math.Exp2(-alpha) {
			break
		}
	}
	if want := critical + 1; proportionCutoff != want {
		t.Errorf("proportion cutoff got %d want %d", proportionCutoff, want)
	}
}

// TestTheLastPermittedRunPasses: one sample below each cutoff is no failure, the cutoff is.
func TestTheLastPermittedRunPasses(t *testing.T) {
	feed := func(samples []byte) error {
		return (&tested{from: bytes.NewReader(samples)}).fill(make([]byte, len(samples)))
	}
	run := append([]byte{9}, bytes.Repeat([]byte{7}, repetitionCutoff-1)...)
	if err := feed(run); err != nil {
		t.Errorf("a run of %d: %v", repetitionCutoff-1, err)
	}
	if err := feed(append(run, 7)); !errors.Is(err, errRepetition) {
		t.Errorf("a run of %d: got %v want %v", repetitionCutoff, err, errRepetition)
	}
	window := make([]byte, proportionWindow)
	for i := range window {
		window[i] = byte(i%200) + 1
	}
	for i := range proportionCutoff - 1 {
		window[2*i] = 255
	}
	if err := feed(window); err != nil {
		t.Errorf("%d in a window: %v", proportionCutoff-1, err)
	}
	window[proportionWindow-1] = 255
	if err := feed(window); !errors.Is(err, errProportion) {
		t.Errorf("%d in a window: got %v want %v", proportionCutoff, err, errProportion)
	}
	window[proportionWindow-1] = 1
	if err := feed(append(window, 255, 3, 255, 4, 255)); err != nil {
		t.Errorf("a new window counts anew: %v", err)
	}
}

func TestASoundSourcePasses(t *testing.T) {
	tested := &tested{from: newSource()}
	b := make([]byte, 1<<16)
	for range 64 {
		if err := tested.fill(b); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSlowGenerationsAreBounded: one runs, one waits, the next is told to come back; quick kinds pass by.
func TestSlowGenerationsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := New(Config{Workers: 1, Queue: 1, Random: newSource()})
		if err != nil {
			t.Fatal(err)
		}
		leave, err := p.pool.enter()
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			_, err := p.Generate(provider.Spec{Algorithm: kms.RSA2048}, wrapKey(t), []byte("p"))
			done <- err
		}()
		synctest.Wait()
		for range 3 {
			_, err = p.Generate(provider.Spec{Algorithm: kms.RSA2048}, wrapKey(t), []byte("p"))
			if kms.CodeOf(err) != kms.CodeBusy || kms.AsError(err).RetryMS == 0 {
				t.Errorf("a third: got %v want %s with a time to wait", err, kms.CodeBusy)
			}
			if _, _, err := p.GeneratePair(kms.RSA2048); kms.CodeOf(err) != kms.CodeBusy {
				t.Errorf("a pair: got %v want %s", err, kms.CodeBusy)
			}
		}
		if _, err := p.Generate(provider.Spec{Algorithm: kms.ECDSAP256}, wrapKey(t), []byte("p")); err != nil {
			t.Errorf("a quick kind while the pool is full: %v", err)
		}
		leave()
		if err := <-done; err != nil {
			t.Errorf("the one that waited: %v", err)
		}
		for range 3 {
			leave, err := p.pool.enter()
			if err != nil {
				t.Fatalf("places were not given back: %v", err)
			}
			leave()
		}
	})
}

// TestSlowSignaturesAreBounded: they share the pool with slow generations; what the table refuses takes no place, and verifying
// needs none.
func TestSlowSignaturesAreBounded(t *testing.T) {
	if !makes(kms.SLHDSASHA2128f) {
		return
	}
	p, err := New(Config{Workers: 1, Queue: -1})
	if err != nil {
		t.Fatal(err)
	}
	wrap := wrapKey(t)
	made, err := p.Generate(provider.Spec{Algorithm: kms.SLHDSASHA2128f}, wrap, []byte("p"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := p.Open(kms.SLHDSASHA2128f, made.Wrapped, wrap, []byte("p"), made.Check)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	signature, err := h.Sign([]byte("m"), kms.Form{}, kms.NoScheme)
	if err != nil {
		t.Fatal(err)
	}
	leave, err := p.pool.enter()
	if err != nil {
		t.Fatalf("the signature did not give its place back: %v", err)
	}
	if _, err := h.Sign([]byte("m"), kms.Form{}, kms.NoScheme); kms.CodeOf(err) != kms.CodeBusy || kms.AsError(err).RetryMS == 0 {
		t.Errorf("while the pool is full: got %v want %s with a time to wait", err, kms.CodeBusy)
	}
	if _, err := h.Sign([]byte("m"), kms.Form{}, kms.SchemeMLDSA); kms.CodeOf(err) != kms.CodeAlgorithm {
		t.Errorf("a scheme of another algorithm: got %v want %s", err, kms.CodeAlgorithm)
	}
	if err := h.Verify([]byte("m"), signature, kms.Form{}, kms.NoScheme); err != nil {
		t.Errorf("verify while the pool is full: %v", err)
	}
	leave()
	if _, err := h.Sign([]byte("m"), kms.Form{}, kms.NoScheme); err != nil {
		t.Errorf("once there is a place: %v", err)
	}
}

var _ io.Reader = (*source)(nil)
