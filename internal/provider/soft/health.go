package soft

import (
	"crypto/fips140"
	"errors"
	"io"
	"sync"

	"github.com/keyhold/keyhold/internal/kms"
)

// The health tests of SP 800-90B §4.4 on byte samples, as a detector of a source that is stuck or grossly biased. What is tested
// is the output of a conditioned generator, not raw noise, so these tests cannot measure its entropy. They assume 4 bits a
// byte, half of what a sound source has: a sound one fails less than once in 2^80 bytes, a source below that is found soon.
const (
	startupSamples = 4096 // §4.3 asks for at least 1024
	// repetitionCutoff is 1 + ⌈40 / H⌉ with H = 4 and a false-alarm rate of 2^-40 for a source of just 4 bits (§4.4.1).
	repetitionCutoff = 11
	// The adaptive proportion window for samples that are not binary, and its cutoff for H = 4 at 2^-40 (§4.4.2):
	// 1 + the critical value of Binomial(512, 2^-4); a test computes it.
	proportionWindow = 512
	proportionCutoff = 78
	// sampleSize is what is drawn and tested before Go makes an ECDSA or RSA key by itself.
	sampleSize = 64
)

var (
	errRepetition = errors.New("repetition count test failed: the source repeats one byte")
	errProportion = errors.New("adaptive proportion test failed: the source prefers one byte")
)

// tested gives bytes of a source that pass the health tests. A failed test is final: the source gives nothing more until
// the provider is made anew, as a source that failed once cannot be trusted because it recovered.
type tested struct {
	from io.Reader

	mu     sync.Mutex // guards from and all below
	failed error
	seen   bool // last holds a sample
	last   byte
	run    int // repetitions of last
	first  byte
	count  int // samples equal to first in this window
	window int // samples in this window
}

// start is the start-up test (§4.3). Its samples are thrown away.
func (t *tested) start() error {
	var b [startupSamples]byte
	defer clear(b[:])
	return t.fill(b[:])
}

// sample tests the source without using what it gives.
func (t *tested) sample() error {
	var b [sampleSize]byte
	defer clear(b[:])
	return t.fill(b[:])
}

// fill reads and tests. On failure it erases what it read.
func (t *tested) fill(b []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed != nil {
		return broken(t.failed)
	}
	if _, err := io.ReadFull(t.from, b); err != nil {
		clear(b)
		return broken(err) // not final: the source may come back, and what it gives then is tested
	}
	for _, s := range b {
		if err := t.check(s); err != nil {
			clear(b)
			t.failed = err
			return broken(err)
		}
	}
	return nil
}

// Read fills all of b, for makers that draw by themselves.
func (t *tested) Read(b []byte) (int, error) {
	if err := t.fill(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// check feeds one sample to both tests.
func (t *tested) check(s byte) error {
	if t.seen && s == t.last {
		t.run++
		if t.run >= repetitionCutoff {
			return errRepetition
		}
	} else {
		t.seen, t.last, t.run = true, s, 1
	}
	if t.window == 0 {
		t.first, t.count = s, 1
	} else if s == t.first {
		t.count++
		if t.count >= proportionCutoff {
			return errProportion
		}
	}
	if t.window++; t.window == proportionWindow {
		t.window = 0
	}
	return nil
}

func broken(cause error) error {
	return kms.Errorf(kms.CodeRandomness, "the random source failed its health test, nothing is made from it").Because(cause)
}

func defaultSource() string {
	if fips140.Enabled() {
		return "sp800-90a-drbg"
	}
	return "getrandom"
}
