package providertest

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1"   //nolint:gosec // G505: of OAEP alone
	_ "crypto/sha256" // the hashes of the schemes
	_ "crypto/sha512"
	"fmt"
	"sync"
	"testing"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
)

// hashes of the schemes, as the standard library names them; independent of any provider's table.
var hashes = map[kms.Scheme]crypto.Hash{
	kms.SchemeHMACSHA256: crypto.SHA256, kms.SchemeHMACSHA384: crypto.SHA384, kms.SchemeHMACSHA512: crypto.SHA512,
	kms.SchemeECDSASHA256: crypto.SHA256, kms.SchemeECDSASHA384: crypto.SHA384,
	kms.SchemePSSSHA256: crypto.SHA256, kms.SchemePSSSHA384: crypto.SHA384, kms.SchemePSSSHA512: crypto.SHA512,
	kms.SchemePKCS1SHA256: crypto.SHA256, kms.SchemePKCS1SHA384: crypto.SHA384, kms.SchemePKCS1SHA512: crypto.SHA512,
	kms.SchemeOAEPSHA256: crypto.SHA256, kms.SchemeOAEPSHA384: crypto.SHA384, kms.SchemeOAEPSHA512: crypto.SHA512,
	kms.SchemeECDSASHA512: crypto.SHA512, kms.SchemeEd25519ph: crypto.SHA512, kms.SchemeHMACSHA224: crypto.SHA224, kms.SchemeOAEPSHA1: crypto.SHA1,
	kms.SchemeECDSASHA224: crypto.SHA224, kms.SchemeECDSASHA3x224: crypto.SHA3_224, kms.SchemeECDSASHA3x256: crypto.SHA3_256,
	kms.SchemeECDSASHA3x384: crypto.SHA3_384, kms.SchemeECDSASHA3x512: crypto.SHA3_512,
	kms.SchemePSSSHA224: crypto.SHA224, kms.SchemePSSSHA3x224: crypto.SHA3_224, kms.SchemePSSSHA3x256: crypto.SHA3_256,
	kms.SchemePSSSHA3x384: crypto.SHA3_384, kms.SchemePSSSHA3x512: crypto.SHA3_512,
	kms.SchemePKCS1SHA224: crypto.SHA224, kms.SchemePKCS1SHA3x224: crypto.SHA3_224, kms.SchemePKCS1SHA3x256: crypto.SHA3_256,
	kms.SchemePKCS1SHA3x384: crypto.SHA3_384, kms.SchemePKCS1SHA3x512: crypto.SHA3_512,
	kms.SchemeHMACSHA3x224: crypto.SHA3_224, kms.SchemeHMACSHA3x256: crypto.SHA3_256, kms.SchemeHMACSHA3x384: crypto.SHA3_384, kms.SchemeHMACSHA3x512: crypto.SHA3_512,
}

// further are the schemes that differ from others in their hash alone: what was tried with those is tried more sparingly with them.
func further(s kms.Scheme) bool { return s >= kms.SchemeECDSASHA1 }

// macSize is the length of a scheme's MAC in bytes.
func macSize(s kms.Scheme) int {
	if s == kms.SchemeAESCMAC {
		return 16
	}
	return hashes[s].Size()
}

// overhead is what the boxes of a scheme are longer than their plaintexts.
func overhead(s kms.Scheme) int {
	switch s {
	case kms.SchemeXChaCha20Poly1305:
		return box.XChaChaOverhead
	case kms.SchemeAESSIV:
		return 32 + 16 // commitment, synthetic IV
	}
	return box.Overhead
}

// operations: every scheme of every algorithm does what the algorithm table says, and no other does anything.
func (o Options) operations(t *testing.T, p provider.Provider) {
	for _, a := range o.Algorithms {
		if o.Small && slower(a) {
			continue
		}
		t.Run(a.String(), func(t *testing.T) {
			m := o.make(t, p, a)
			for _, s := range append(kms.AllSchemes(), kms.NoScheme) {
				o.gate(t, m, s)
				if s == kms.NoScheme && a.Facts().SlowSign && !o.Thorough {
					continue // seconds, for the one scheme that it has
				}
				if _, err := kms.CheckScheme(a, kms.EncryptDecrypt, s, o.Profile, true); err == nil {
					o.seals(t, m, s)
				}
				if _, err := kms.CheckScheme(a, kms.SignVerify, s, o.Profile, true); err == nil {
					o.signs(t, m, s)
				}
				if _, err := kms.CheckScheme(a, kms.MAC, s, o.Profile, true); err == nil {
					o.macs(t, m, s)
				}
				if _, err := kms.CheckScheme(a, kms.Wrapping, s, o.Profile, true); err == nil {
					o.wraps(t, m, s)
				}
			}
			o.layouts(t, m)
			o.beside(t, p, a)
			o.agrees(t, m)
			o.encapsulates(t, m)
			o.formats(t, m)
			o.atOnce(t, m)
		})
	}
}

// gate: each method refuses a scheme exactly where, and as, the algorithm table does.
func (o Options) gate(t *testing.T, m made, s kms.Scheme) {
	check := func(what string, u kms.Usage, protect bool, got error) {
		t.Helper()
		_, want := kms.CheckScheme(m.algorithm, u, s, o.Profile, protect)
		if s.IsLayout() && u == kms.EncryptDecrypt {
			_, want = kms.CheckLayout(m.algorithm, s, o.Profile, protect)
		}
		if want != nil && kms.CodeOf(got) != kms.CodeOf(want) {
			t.Errorf("%s with %s, %s: got %v want %v", m.algorithm, s, what, got, want)
		}
		if code := kms.CodeOf(got); want == nil && (code == kms.CodeAlgorithm || code == kms.CodeUsage || code == kms.CodeProfile) {
			t.Errorf("%s with %s, %s: got %v, the table permits it", m.algorithm, s, what, got)
		}
	}
	_, err := m.Seal(nil, header(), []byte("x"), nil, s)
	check("seal", cipherUsage(m.algorithm), true, err)
	_, err = m.Handle.Open(nil, header(), []byte("x"), nil, s)
	check("open", cipherUsage(m.algorithm), false, err)
	_, err = m.Sign([]byte("x"), kms.Form{}, s)
	check("sign", kms.SignVerify, true, err)
	check("verify", kms.SignVerify, false, m.Verify([]byte("x"), []byte("x"), kms.Form{}, s))
	_, err = m.MAC(nil, []byte("x"), s)
	check("mac", kms.MAC, true, err)
	check("verify mac", kms.MAC, false, m.VerifyMAC([]byte("x"), []byte("x"), s))
	if s != kms.NoScheme {
		return // what follows has one scheme for each algorithm
	}
	_, err = m.Agree([]byte("x"))
	check("agree", kms.KeyAgreement, true, err)
	_, _, err = m.Encapsulate()
	check("encapsulate", kms.Encapsulation, true, err)
	_, err = m.Decapsulate([]byte("x"))
	check("decapsulate", kms.Encapsulation, false, err)
	_, err = m.Format(nil, 10, nil, make([]uint16, 16), false)
	check("encrypt format", kms.FormatPreserving, true, err)
	_, err = m.Format(nil, 10, nil, make([]uint16, 16), true)
	check("decrypt format", kms.FormatPreserving, false, err)
}

func (o Options) seals(t *testing.T, m made, s kms.Scheme) {
	aad, prefix := []byte("context"), []byte("before")
	var public *rsa.PublicKey
	sizes := []int{0, 1, 32, 4096}
	if m.Public != nil {
		public = parsePublic(t, m.Public).(*rsa.PublicKey)
		sizes = []int{0, 1, 32, public.Size() - 2*hashes[effective(m, kms.EncryptDecrypt, s)].Size() - 2}
	}
	for _, n := range sizes {
		plaintext := randomBytes(n)
		sealed, err := m.Seal(bytes.Clone(prefix), header(), plaintext, aad, s)
		if err != nil || !bytes.HasPrefix(sealed, prefix) {
			t.Fatalf("%s: seal %d bytes: %v", s, n, err)
		}
		sealed = sealed[len(prefix):]
		if public != nil && len(sealed) != public.Size() || public == nil && len(sealed) != n+overhead(effective(m, kms.EncryptDecrypt, s)) {
			t.Errorf("%s: %d bytes sealed are %d", s, n, len(sealed))
		}
		got, err := m.Handle.Open(bytes.Clone(prefix), header(), sealed, aad, s)
		if err != nil || !bytes.Equal(got, append(bytes.Clone(prefix), plaintext...)) {
			t.Fatalf("%s: open %d bytes: got %d bytes, %v", s, n, len(got), err)
		}
		again, _ := m.Seal(nil, header(), plaintext, aad, s)
		if same := bytes.Equal(again, sealed); same != (m.algorithm.Facts().Leaks != "") {
			t.Errorf("%s: two encryptions are the same: %v", s, same)
		}
	}
	if public != nil {
		_, err := m.Seal(nil, header(), randomBytes(sizes[3]+1), aad, s)
		wantCode(t, s.String()+": one byte too many", err, kms.CodeTooLarge)
		plaintext := randomBytes(32)
		theirs, err := rsa.EncryptOAEP(hashes[effective(m, kms.EncryptDecrypt, s)].New(), rand.Reader, public, plaintext, aad)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := m.Handle.Open(nil, header(), theirs, aad, s); err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("%s: the standard library's ciphertext: got %x, %v", s, got, err)
		}
	}
	o.opensNothingElse(t, m, s, public != nil)
}

// opensNothingElse: one error, word for word, for every decryption that fails.
func (o Options) opensNothingElse(t *testing.T, m made, s kms.Scheme, isRSA bool) {
	plaintext, aad := randomBytes(32), []byte("context")
	sealed, err := m.Seal(nil, header(), plaintext, aad, s)
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Handle.Open(nil, header(), sealed, []byte("another context"), s)
	wantCode(t, s.String()+": another context", err, kms.CodeDecryptFailed)
	want := err.Error()
	fails := func(what string, header, sealed, aad []byte) {
		t.Helper()
		got, err := m.Handle.Open([]byte("before"), header, sealed, aad, s)
		if kms.CodeOf(err) != kms.CodeDecryptFailed || err.Error() != want || got != nil {
			t.Fatalf("%s: %s: got %d bytes, %v want %s", s, what, len(got), err, want)
		}
	}
	step := o.step(m)
	for i, changed := range flips(sealed, o.Thorough && !isRSA) {
		if i%step == 0 {
			fails(fmt.Sprintf("byte %d changed", i), header(), changed, aad)
		}
	}
	fails("nothing", header(), nil, aad)
	fails("one byte", header(), []byte{1}, aad)
	fails("cut short", header(), sealed[:len(sealed)-1], aad)
	fails("cut at the front", header(), sealed[1:], aad)
	fails("one byte more", header(), append(bytes.Clone(sealed), 0), aad)
	fails("zeros", header(), make([]byte, len(sealed)), aad)
	fails("ones", header(), bytes.Repeat([]byte{0xff}, len(sealed)), aad)
	fails("no context", header(), sealed, nil)
	if isRSA {
		return // OAEP does not cover the header
	}
	for i, changed := range flips(header(), true) {
		fails(fmt.Sprintf("byte %d of the header changed", i), changed, sealed, aad)
	}
	for _, h := range [][]byte{nil, header()[:21], append(header(), 0)} {
		_, err := m.Handle.Open(nil, h, sealed, aad, s)
		wantCode(t, "open with a header of another length", err, kms.CodeInternal)
		_, err = m.Seal(nil, h, plaintext, aad, s)
		wantCode(t, "seal with a header of another length", err, kms.CodeInternal)
	}
}

// step leaves out most bytes of the outputs that are long or slow to read: an RSA output is one number, and an operation costs up
// to 8 milliseconds; a post-quantum signature has up to 17088 bytes.
func (o Options) step(m made) int {
	switch f := m.algorithm.Facts(); {
	case o.Thorough:
		return 1
	case f.SlowSign:
		return 397
	case f.Slow, f.Schemes[0].Scheme == kms.SchemeMLDSA:
		return 37
	case m.algorithm == kms.ECDSAP521: // 3 milliseconds
		return 7
	}
	return 1
}

func (o Options) signs(t *testing.T, m made, s kms.Scheme) {
	scheme := effective(m, kms.SignVerify, s)
	if scheme == kms.SchemePKCS1None {
		o.signsBare(t, m)
		return
	}
	hash, digests := hashes[scheme]
	sizes := []int{0, 1, 32, 5000}
	step := o.step(m)
	switch {
	case o.Thorough:
	case m.algorithm.Facts().SlowSign:
		sizes = sizes[2:3]
	case further(scheme):
		sizes = sizes[2:3]
		step *= 61
	}
	for _, n := range sizes {
		message := randomBytes(n)
		signature, err := m.Sign(message, kms.Form{}, s)
		if err != nil {
			t.Fatalf("%s: sign %d bytes: %v", s, n, because(err))
		}
		if !secondOpinion(t, m, scheme, message, signature) {
			t.Errorf("%s: the second opinion does not accept the signature of a message of %d bytes", s, n)
		}
		if err := m.Verify(message, signature, kms.Form{}, s); err != nil {
			t.Errorf("%s: own signature of %d bytes: %v", s, n, err)
		}
		if digests {
			digest := sum(hash, message)
			if err := m.Verify(digest, signature, kms.Form{Digested: true}, s); err != nil {
				t.Errorf("%s: signature against the digest: %v", s, err)
			}
			signature, err := m.Sign(digest, kms.Form{Digested: true}, s)
			if err != nil || !secondOpinion(t, m, scheme, message, signature) {
				t.Errorf("%s: signature of a digest does not verify: %v", s, err)
			}
		}
	}
	message := []byte("message")
	signature, err := m.Sign(message, kms.Form{}, s)
	if err != nil {
		t.Fatal(err)
	}
	for i, changed := range flips(signature, o.Thorough) {
		if i%step != 0 {
			continue
		}
		if err := m.Verify(message, changed, kms.Form{}, s); kms.CodeOf(err) != kms.CodeBadSignature {
			t.Fatalf("%s: byte %d of the signature changed: got %v want %s", s, i, err, kms.CodeBadSignature)
		}
	}
	for what, b := range map[string][]byte{
		"none": nil, "one byte": {0x30}, "cut short": signature[:len(signature)-1], "one more": append(bytes.Clone(signature), 0),
		"zeros": make([]byte, len(signature)), "huge": make([]byte, 1<<16),
	} {
		wantCode(t, s.String()+": signature "+what, m.Verify(message, b, kms.Form{}, s), kms.CodeBadSignature)
	}
	wantCode(t, s.String()+": another message", m.Verify([]byte("Message"), signature, kms.Form{}, s), kms.CodeBadSignature)
	for _, n := range []int{0, 1, hash63(hash), hash63(hash) + 2, 100} {
		_, err := m.Sign(make([]byte, n), kms.Form{Digested: true}, s)
		wantCode(t, fmt.Sprintf("%s: digest of %d bytes", s, n), err, kms.CodeBadRequest)
		wantCode(t, fmt.Sprintf("%s: verify a digest of %d bytes", s, n), m.Verify(make([]byte, n), signature, kms.Form{Digested: true}, s), kms.CodeBadRequest)
	}
}

// signsBare: RSASSA-PKCS1-v1_5 over what it is given, without the name of a hash.
func (o Options) signsBare(t *testing.T, m made) {
	digested := kms.Form{Digested: true}
	digest := sum(crypto.SHA256, []byte("message"))
	signature, err := m.Sign(digest, digested, kms.SchemePKCS1None)
	if err != nil {
		t.Fatal(err)
	}
	if err := rsa.VerifyPKCS1v15(parsePublic(t, m.Public).(*rsa.PublicKey), 0, digest, signature); err != nil {
		t.Errorf("bare signature: the second opinion says %v", err)
	}
	if err := m.Verify(digest, signature, digested, kms.SchemePKCS1None); err != nil {
		t.Errorf("own bare signature: %v", err)
	}
	wantCode(t, "bare signature of another digest", m.Verify(digest[1:], signature, digested, kms.SchemePKCS1None), kms.CodeBadSignature)
	wantCode(t, "bare signature by SHA-256", m.Verify(digest, signature, digested, kms.SchemePKCS1SHA256), kms.CodeBadSignature)
	_, err = m.Sign(digest, kms.Form{}, kms.SchemePKCS1None)
	wantCode(t, "bare signature of a message", err, kms.CodeBadRequest)
	_, err = m.Sign(make([]byte, 4096), digested, kms.SchemePKCS1None)
	wantCode(t, "bare signature of what is longer than the key", err, kms.CodeTooLarge)
}

// hash63 is one byte less than a digest, for schemes that have one.
func hash63(h crypto.Hash) int {
	if h == 0 {
		return 63
	}
	return h.Size() - 1
}

func (o Options) macs(t *testing.T, m made, s kms.Scheme) {
	size := macSize(effective(m, kms.MAC, s))
	for _, n := range []int{0, 1, 64, 5000} {
		message := randomBytes(n)
		mac, err := m.MAC([]byte("before"), message, s)
		if err != nil || len(mac) != 6+size || string(mac[:6]) != "before" {
			t.Fatalf("%s: got %d bytes, %v want %d after what was there", s, len(mac), err, size)
		}
		if err := m.VerifyMAC(message, mac[6:], s); err != nil {
			t.Errorf("%s: own MAC of %d bytes: %v", s, n, err)
		}
	}
	message := []byte("message")
	mac, err := m.MAC(nil, message, s)
	if err != nil {
		t.Fatal(err)
	}
	for i, changed := range flips(mac, true) {
		if err := m.VerifyMAC(message, changed, s); kms.CodeOf(err) != kms.CodeBadMAC {
			t.Fatalf("%s: byte %d changed: got %v want %s", s, i, err, kms.CodeBadMAC)
		}
	}
	for n := range mac {
		wantCode(t, fmt.Sprintf("%s: truncated to %d", s, n), m.VerifyMAC(message, mac[:n], s), kms.CodeBadMAC)
	}
	wantCode(t, s.String()+": one byte more", m.VerifyMAC(message, append(bytes.Clone(mac), 0), s), kms.CodeBadMAC)
	wantCode(t, s.String()+": another message", m.VerifyMAC([]byte("Message"), mac, s), kms.CodeBadMAC)
}

// atOnce: one handle serves many callers at the same time.
func (o Options) atOnce(t *testing.T, m made) {
	many, rounds := 8, 50
	switch f := m.algorithm.Facts(); {
	case f.SlowSign && !o.Thorough:
		many, rounds = 2, 1
	case f.Slow:
		rounds = 2
	case m.algorithm == kms.ECDSAP521:
		rounds = 5
	}
	var callers sync.WaitGroup
	for i := range many {
		callers.Go(func() {
			for j := range rounds {
				text := fmt.Appendf(nil, "caller %d round %d", i, j)
				for _, u := range m.algorithm.Usages() {
					if err := roundTrip(m, u, text); err != nil {
						t.Errorf("%s at once: %s: %v", m.algorithm, u, err)
						return
					}
				}
			}
		})
	}
	callers.Wait()
}

func roundTrip(m made, u kms.Usage, text []byte) error {
	switch u {
	case kms.EncryptDecrypt:
		sealed, err := m.Seal(nil, header(), text, text, kms.NoScheme)
		if err != nil {
			return err
		}
		got, err := m.Handle.Open(nil, header(), sealed, text, kms.NoScheme)
		if err == nil && !bytes.Equal(got, text) {
			err = fmt.Errorf("got %q want %q", got, text)
		}
		return err
	case kms.SignVerify:
		signature, err := m.Sign(text, kms.Form{}, kms.NoScheme)
		if err != nil {
			return err
		}
		return m.Verify(text, signature, kms.Form{}, kms.NoScheme)
	case kms.KeyAgreement, kms.Encapsulation, kms.Wrapping, kms.FormatPreserving:
		return use(m.Handle, m.algorithm, u)
	}
	mac, err := m.MAC(nil, text, kms.NoScheme)
	if err != nil {
		return err
	}
	return m.VerifyMAC(text, mac, kms.NoScheme)
}

func effective(m made, u kms.Usage, s kms.Scheme) kms.Scheme {
	if s == kms.NoScheme {
		return m.algorithm.DefaultScheme(u)
	}
	return s
}

func sum(h crypto.Hash, message []byte) []byte {
	d := h.New()
	d.Write(message)
	return d.Sum(nil)
}
