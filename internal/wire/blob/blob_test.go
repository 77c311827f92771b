package blob_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/wire/blob"
)

var key = kms.ID{0x01, 0x92, 0xf0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0x2a}

func TestHeaderHasTheWrittenLayout(t *testing.T) {
	got := hex.EncodeToString(blob.AppendHeader([]byte{0xee}, blob.Header{Suite: blob.Software, Key: key, Version: 0x01020304}))
	if want := "ee" + "01" + "01" + "0192f000000070008000" + "00000000002a" + "01020304"; got != want {
		t.Errorf("header got %s want %s", got, want)
	}
}

func TestParseGivesBackWhatWasAppended(t *testing.T) {
	for suite, size := range map[blob.Suite]int{blob.Software: box.Overhead, blob.OAEP: 384, blob.ChaCha: box.Overhead, blob.XChaCha: box.XChaChaOverhead,
		blob.Convergent: blob.ConvergentOverhead} {
		want := blob.Header{Suite: suite, Key: key, Version: 7}
		body := bytes.Repeat([]byte{0x5a}, size)
		got, rest, err := blob.Parse(append(blob.AppendHeader(nil, want), body...))
		if err != nil || got != want || !bytes.Equal(rest, body) {
			t.Errorf("%s: got %+v, %d bytes, %v want %+v, %d bytes", suite, got, len(rest), err, want, len(body))
		}
	}
}

func TestWhatIsNoBlobIsRefusedWithOneCode(t *testing.T) {
	good := func(suite blob.Suite, body int) []byte {
		return append(blob.AppendHeader(nil, blob.Header{Suite: suite, Key: key, Version: 1}), make([]byte, body)...)
	}
	with := func(b []byte, at int, v byte) []byte { b[at] = v; return b }
	for name, b := range map[string][]byte{
		"nothing":                  nil,
		"a header cut short":       good(blob.Software, 0)[:blob.HeaderSize-1],
		"a header alone":           good(blob.Software, 0),
		"a body cut short":         good(blob.Software, box.Overhead-1),
		"version 0":                with(good(blob.Software, box.Overhead), 0, 0),
		"version 2":                with(good(blob.Software, box.Overhead), 0, 2),
		"suite 0":                  with(good(blob.Software, box.Overhead), 1, 0),
		"suite 2, reserved":        with(good(blob.Software, box.Overhead), 1, 2),
		"a convergent body short":  good(blob.Convergent, blob.ConvergentOverhead-1),
		"suite 7":                  with(good(blob.Software, box.Overhead), 1, 7),
		"an XChaCha box cut short": good(blob.XChaCha, box.XChaChaOverhead-1),
		"suite 255":                with(good(blob.Software, box.Overhead), 1, 255),
		"no key":                   append(blob.AppendHeader(nil, blob.Header{Suite: blob.Software, Version: 1}), make([]byte, 100)...),
		"no version":               append(blob.AppendHeader(nil, blob.Header{Suite: blob.Software, Key: key}), make([]byte, 100)...),
		"a modulus too short":      good(blob.OAEP, 255),
		"a modulus too long":       good(blob.OAEP, 513),
		"more than the limit":      good(blob.Software, blob.MaxSize),
		"text of another maker":    []byte("vault:v1:8SDd3WHDOjf7mq69CyCqYjBXAiQQAVZRkFM13ok481zoCmHnSeDX9vyf7w=="),
	} {
		if h, rest, err := blob.Parse(b); kms.CodeOf(err) != kms.CodeBadCiphertext || rest != nil || h != (blob.Header{}) {
			t.Errorf("%s: got %+v, %v want %s", name, h, err, kms.CodeBadCiphertext)
		}
	}
}

// TestEveryEncryptionHasASuite ranges over the schemes of the algorithm table.
func TestEveryEncryptionHasASuite(t *testing.T) {
	for _, a := range kms.AllAlgorithms() {
		for _, f := range a.Facts().Schemes {
			suite := blob.Of(f.Scheme)
			if known := suite.String() != "unknown-suite"; known != (f.Usage == kms.EncryptDecrypt) {
				t.Errorf("%s for %s: got suite %s", f.Scheme, f.Usage, suite)
			}
			if f.Usage == kms.EncryptDecrypt && suite.Boxed() == a.Facts().Asymmetric {
				t.Errorf("%s of %s: boxed %v", f.Scheme, a, suite.Boxed())
			}
		}
	}
	if blob.Suite(0).Boxed() || blob.Suite(2).Boxed() || blob.Suite(255).Boxed() {
		t.Error("a suite that is not assigned has a box")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(append(blob.AppendHeader(nil, blob.Header{Suite: blob.Software, Key: key, Version: 1}), make([]byte, box.Overhead)...))
	f.Add(append(blob.AppendHeader(nil, blob.Header{Suite: blob.OAEP, Key: key, Version: 1 << 31}), make([]byte, 256)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, rest, err := blob.Parse(b)
		if err != nil {
			if kms.CodeOf(err) != kms.CodeBadCiphertext || rest != nil {
				t.Fatalf("got %v with %d bytes, want %s with none", err, len(rest), kms.CodeBadCiphertext)
			}
			return
		}
		if again := append(blob.AppendHeader(nil, h), rest...); !bytes.Equal(again, b) {
			t.Fatalf("parsed and written again: got %x want %x", again, b)
		}
	})
}
