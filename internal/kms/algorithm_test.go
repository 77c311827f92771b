package kms_test

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
)

type cell struct{ algorithm, usage, scheme string }

// algorithmMatrix reads testdata/algorithms.txt: the leave of each listed cell by profile, and the default schemes.
func algorithmMatrix(t *testing.T) (leaves map[cell][2]string, defaults map[cell]bool) {
	t.Helper()
	f, err := os.Open("testdata/algorithms.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	leaves, defaults = map[cell][2]string{}, map[cell]bool{}
	for in := bufio.NewScanner(f); in.Scan(); {
		line := in.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		w := strings.Fields(line)
		if len(w) != 5 {
			t.Fatalf("line %q has %d words, want 5", line, len(w))
		}
		scheme, isDefault := strings.CutSuffix(w[2], "*")
		c := cell{w[0], w[1], scheme}
		if _, twice := leaves[c]; twice {
			t.Fatalf("two lines for %v", c)
		}
		leaves[c], defaults[c] = [2]string{w[3], w[4]}, isDefault
	}
	return leaves, defaults
}

var usages = kms.AllUsages()

// TestAlgorithmTableIsExhaustive compares algorithm × scheme × usage × profile × direction with the written matrix.
func TestAlgorithmTableIsExhaustive(t *testing.T) {
	leaves, defaults := algorithmMatrix(t)
	used := map[cell]bool{}
	for _, a := range kms.AllAlgorithms() {
		for _, u := range usages {
			for _, s := range append(kms.AllSchemes(), kms.NoScheme) {
				name := s.String()
				if s == kms.NoScheme {
					name = defaultOf(defaults, a, u)
				}
				c := cell{a.String(), u.String(), name}
				row, listed := leaves[c]
				used[c] = used[c] || listed
				for _, p := range kms.AllProfiles() {
					for _, protect := range []bool{true, false} {
						got, err := kms.CheckScheme(a, u, s, p, protect)
						want := wantLeave(leaves, c, listed, row[p], protect)
						if kms.CodeOf(err) != want {
							t.Errorf("%s %s %s, %s profile, protect %v: got %v want %s", a, u, s, p, protect, err, want)
						}
						if want == 0 && got.String() != name || want != 0 && got != 0 {
							t.Errorf("%s %s %s, %s profile: effective scheme got %s want %s", a, u, s, p, got, name)
						}
					}
				}
			}
		}
	}
	for c := range leaves {
		if !used[c] {
			t.Errorf("the matrix lists %v, which does not exist", c)
		}
	}
}

func defaultOf(defaults map[cell]bool, a kms.Algorithm, u kms.Usage) string {
	for c, is := range defaults {
		if is && c.algorithm == a.String() && c.usage == u.String() {
			return c.scheme
		}
	}
	return "none"
}

// wantLeave is the code that the matrix asks for: a scheme that the algorithm has for another usage is the wrong usage, one
// that it has not is the wrong algorithm.
func wantLeave(leaves map[cell][2]string, c cell, listed bool, leave string, protect bool) kms.Code {
	switch {
	case leave == "full", leave == "process" && !protect:
		return 0
	case listed:
		return kms.CodeProfile
	}
	for _, u := range usages {
		if _, elsewhere := leaves[cell{c.algorithm, u.String(), c.scheme}]; elsewhere {
			return kms.CodeUsage
		}
	}
	return kms.CodeAlgorithm
}

func TestKeysAreMadeForWhatTheyCanDo(t *testing.T) {
	leaves, _ := algorithmMatrix(t)
	for _, a := range kms.AllAlgorithms() {
		var can []kms.Usage
		for _, u := range usages {
			for c := range leaves {
				if c.algorithm == a.String() && c.usage == u.String() {
					can = append(can, u)
					break
				}
			}
		}
		if got := a.Usages(); len(got) != len(can) {
			t.Errorf("%s: usages got %v want %v", a, got, can)
		}
		for _, p := range kms.AllProfiles() {
			for _, u := range usages {
				want := wantCreate(leaves, a, u, p)
				if got, err := kms.CheckCreate(a, u, p); kms.CodeOf(err) != want || want == 0 && got != u {
					t.Errorf("%s for %s: got %s, %v want %s", a, u, got, err, want)
				}
			}
			want := kms.CodeUsage
			if len(can) == 1 {
				want = wantCreate(leaves, a, can[0], p)
			}
			if got, err := kms.CheckCreate(a, 0, p); kms.CodeOf(err) != want || want == 0 && got != can[0] {
				t.Errorf("%s without a usage: got %s, %v want %s", a, got, err, want)
			}
			want = kms.CodeProfile
			for c, row := range leaves {
				if c.algorithm == a.String() && row[p] != "refused" {
					want = 0
				}
			}
			if err := kms.CheckLoad(a, p); kms.CodeOf(err) != want {
				t.Errorf("load %s under %s: got %v want %s", a, p, err, want)
			}
		}
	}
	for _, a := range []kms.Algorithm{0, kms.HMAC + 1, 255} {
		if _, err := kms.CheckCreate(a, 0, kms.ProfileDefault); kms.CodeOf(err) != kms.CodeAlgorithm {
			t.Errorf("algorithm %d: got %v want %s", a, err, kms.CodeAlgorithm)
		}
		if err := kms.CheckLoad(a, kms.ProfileDefault); kms.CodeOf(err) != kms.CodeAlgorithm {
			t.Errorf("load algorithm %d: got %v want %s", a, err, kms.CodeAlgorithm)
		}
		for _, u := range append(usages, 0, 255) {
			if _, err := kms.CheckScheme(a, u, kms.NoScheme, kms.ProfileDefault, false); kms.CodeOf(err) != kms.CodeAlgorithm {
				t.Errorf("algorithm %d, usage %d: got %v want %s", a, u, err, kms.CodeAlgorithm)
			}
		}
	}
}

// wantCreate is the code that the matrix asks for when a key is made.
func wantCreate(leaves map[cell][2]string, a kms.Algorithm, u kms.Usage, p kms.Profile) kms.Code {
	want := kms.CodeUsage
	for c, row := range leaves {
		if c.algorithm == a.String() && c.usage == u.String() {
			if row[p] == "full" {
				return 0
			}
			want = kms.CodeProfile
		}
	}
	return want
}

// TestNumbersAreForEver: records, wrapped material and audit records hold them.
func TestNumbersAreForEver(t *testing.T) {
	var names []string
	for _, a := range kms.AllAlgorithms() {
		names = append(names, a.String())
	}
	want := "aes-128-gcm aes-192-gcm aes-256-gcm hmac-sha-256 hmac-sha-384 hmac-sha-512 ecdsa-p256 ecdsa-p384 ed25519 rsa-2048 rsa-3072 rsa-4096 " +
		"ecdsa-p521 ecdsa-secp256k1 hmac-sha-224 chacha20-poly1305 xchacha20-poly1305 aes-128-cmac aes-256-cmac " +
		"ml-dsa-44 ml-dsa-65 ml-dsa-87 slh-dsa-sha2-128s slh-dsa-sha2-128f ecdh-p256 ecdh-p384 ecdh-p521 x25519 " +
		"ml-kem-512 ml-kem-768 ml-kem-1024 x-wing aes-128-kw aes-192-kw aes-256-kw aes-256-siv aes-128-ff1 aes-256-ff1 hmac"
	if got := strings.Join(names, " "); kms.AllAlgorithms()[0] != 1 || !strings.HasPrefix(got+" ", want+" ") {
		t.Errorf("algorithms from 1: got %s want %s", got, want)
	}
	names = nil
	for _, s := range kms.AllSchemes() {
		names = append(names, s.String())
	}
	want = "aes-gcm hmac-sha-256 hmac-sha-384 hmac-sha-512 ecdsa-sha-256 ecdsa-sha-384 ed25519 rsa-pss-sha-256 rsa-pss-sha-384 rsa-pss-sha-512 " +
		"rsa-pkcs1-sha-256 rsa-pkcs1-sha-384 rsa-pkcs1-sha-512 rsa-oaep-sha-256 rsa-oaep-sha-384 rsa-oaep-sha-512 ecdsa-sha-512 ed25519ph " +
		"hmac-sha-224 chacha20-poly1305 xchacha20-poly1305 rsa-oaep-sha-1 aes-cmac ml-dsa slh-dsa " +
		"ecdh ml-kem x-wing aes-kwp aes-kw aes-siv ff1 transit-aes-gcm transit-chacha20-poly1305 transit-xchacha20-poly1305 " +
		"convergent-aes-gcm convergent-chacha20-poly1305 convergent-xchacha20-poly1305 " +
		"ecdsa-sha-1 ecdsa-sha-224 ecdsa-sha3-224 ecdsa-sha3-256 ecdsa-sha3-384 ecdsa-sha3-512 " +
		"rsa-pss-sha-1 rsa-pss-sha-224 rsa-pss-sha3-224 rsa-pss-sha3-256 rsa-pss-sha3-384 rsa-pss-sha3-512 " +
		"rsa-pkcs1-sha-1 rsa-pkcs1-sha-224 rsa-pkcs1-sha3-224 rsa-pkcs1-sha3-256 rsa-pkcs1-sha3-384 rsa-pkcs1-sha3-512 rsa-pkcs1-none " +
		"hmac-sha3-224 hmac-sha3-256 hmac-sha3-384 hmac-sha3-512"
	if got := strings.Join(names, " "); kms.AllSchemes()[0] != 1 || !strings.HasPrefix(got+" ", want+" ") {
		t.Errorf("schemes from 1: got %s want %s", got, want)
	}
	names = nil
	for _, u := range kms.AllUsages() {
		names = append(names, u.String())
	}
	want = "encrypt sign mac agree encapsulate wrap format"
	if got := strings.Join(names, " "); kms.AllUsages()[0] != 1 || !strings.HasPrefix(got+" ", want+" ") {
		t.Errorf("usages from 1: got %s want %s", got, want)
	}
}

// TestStrengthFollowsSP80057: part 1 rev. 5 tables 2 and 3; RSA-4096 after SP 800-56B rev. 2 appendix D; ML-DSA and SLH-DSA by
// their category, FIPS 204 table 1 and FIPS 205 table 2; ML-KEM likewise, FIPS 203 §8; X-Wing by what its authors claim.
func TestStrengthFollowsSP80057(t *testing.T) {
	facts := map[kms.Algorithm][2]int{
		kms.AES128GCM: {128, 128}, kms.AES192GCM: {192, 192}, kms.AES256GCM: {256, 256},
		kms.HMACSHA256: {256, 256}, kms.HMACSHA384: {384, 256}, kms.HMACSHA512: {512, 256},
		kms.ECDSAP256: {256, 128}, kms.ECDSAP384: {384, 192}, kms.Ed25519: {256, 128},
		kms.RSA2048: {2048, 112}, kms.RSA3072: {3072, 128}, kms.RSA4096: {4096, 152},
		kms.ECDSAP521: {521, 256}, kms.ECDSASecp256k1: {256, 128}, kms.HMACSHA224: {224, 224},
		kms.ChaCha20Poly1305: {256, 256}, kms.XChaCha20Poly1305: {256, 256}, kms.AES128CMAC: {128, 128}, kms.AES256CMAC: {256, 256},
		kms.MLDSA44: {8 * 1312, 128}, kms.MLDSA65: {8 * 1952, 192}, kms.MLDSA87: {8 * 2592, 256},
		kms.SLHDSASHA2128s: {256, 128}, kms.SLHDSASHA2128f: {256, 128},
		kms.ECDHP256: {256, 128}, kms.ECDHP384: {384, 192}, kms.ECDHP521: {521, 256}, kms.X25519: {256, 128},
		kms.MLKEM512: {8 * 800, 128}, kms.MLKEM768: {8 * 1184, 192}, kms.MLKEM1024: {8 * 1568, 256}, kms.XWing: {8 * 1216, 128},
		kms.AES128Wrap: {128, 128}, kms.AES192Wrap: {192, 192}, kms.AES256Wrap: {256, 256}, kms.AES256SIV: {256, 256},
		kms.AES128FF1: {128, 128}, kms.AES256FF1: {256, 256}, kms.HMAC: {256, 256},
	}
	slow := map[kms.Algorithm]bool{kms.RSA2048: true, kms.RSA3072: true, kms.RSA4096: true, kms.SLHDSASHA2128s: true, kms.SLHDSASHA2128f: true}
	slowSign := map[kms.Algorithm]bool{kms.SLHDSASHA2128s: true, kms.SLHDSASHA2128f: true}
	for _, a := range kms.AllAlgorithms() {
		f := a.Facts()
		if want := facts[a]; f.Bits != want[0] || f.Strength != want[1] {
			t.Errorf("%s: got %d bits, strength %d want %v", a, f.Bits, f.Strength, want)
		}
		asymmetric := false
		for _, u := range a.Usages() {
			asymmetric = asymmetric || u == kms.SignVerify || u == kms.KeyAgreement || u == kms.Encapsulation
		}
		if f.Asymmetric != asymmetric || f.Slow != slow[a] || f.SlowSign != slowSign[a] {
			t.Errorf("%s: asymmetric %v, slow %v, slow to sign %v", a, f.Asymmetric, f.Slow, f.SlowSign)
		}
		if ranged := f.MaxBytes != 0; ranged != strings.HasPrefix(f.Name, "hmac") || ranged && (f.MinBytes != 16 || f.MaxBytes != 512) {
			t.Errorf("%s: material of %d to %d bytes", a, f.MinBytes, f.MaxBytes)
		}
	}
}

func TestAlgorithmNamesAreReadBack(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range kms.AllAlgorithms() {
		if got, err := kms.ParseAlgorithm(a.String()); err != nil || got != a || seen[a.String()] {
			t.Errorf("%s: got %s, %v", a, got, err)
		}
		seen[a.String()] = true
	}
	for _, s := range kms.AllSchemes() {
		if got, err := kms.ParseScheme(s.String()); err != nil || got != s {
			t.Errorf("%s: got %s, %v", s, got, err)
		}
	}
	if s, err := kms.ParseScheme(""); s != kms.NoScheme || err != nil {
		t.Errorf("the empty scheme: got %s, %v", s, err)
	}
	for _, bad := range []string{"none", "AES-GCM", " aes-gcm", "unknown-scheme", strings.Repeat("x", 1<<16)} {
		if _, err := kms.ParseScheme(bad); kms.CodeOf(err) != kms.CodeBadRequest || len(err.Error()) > 300 {
			t.Errorf("scheme of %d bytes: got %.100v want %s", len(bad), err, kms.CodeBadRequest)
		}
		if _, err := kms.ParseAlgorithm(bad); kms.CodeOf(err) != kms.CodeAlgorithm || len(err.Error()) > 300 {
			t.Errorf("algorithm of %d bytes: got %.100v want %s", len(bad), err, kms.CodeAlgorithm)
		}
	}
	for _, u := range usages {
		if got, err := kms.ParseUsage(u.String()); err != nil || got != u {
			t.Errorf("%s: got %s, %v", u, got, err)
		}
	}
	if u, err := kms.ParseUsage(""); u != 0 || err != nil {
		t.Errorf("the empty usage: got %s, %v", u, err)
	}
	if _, err := kms.ParseUsage("wrapping"); kms.CodeOf(err) != kms.CodeBadRequest {
		t.Errorf("usage wrapping: got %v", err)
	}
}

// TestWhatIsDeterministicSaysWhatItLeaks: whoever chooses such an algorithm reads it.
func TestWhatIsDeterministicSaysWhatItLeaks(t *testing.T) {
	deterministic := map[kms.Scheme]bool{kms.SchemeAESSIV: true, kms.SchemeFF1: true}
	for _, a := range kms.AllAlgorithms() {
		f := a.Facts()
		if want := deterministic[f.Schemes[0].Scheme]; (f.Leaks != "") != want || want && !strings.HasSuffix(f.Leaks, ".") {
			t.Errorf("%s leaks %q, deterministic: %v", a, f.Leaks, want)
		}
	}
}

// TestOnlySomeKeysHaveALengthToChoose: 0 is for all; HMAC keys take 16 to 512 bytes.
func TestOnlySomeKeysHaveALengthToChoose(t *testing.T) {
	for _, a := range kms.AllAlgorithms() {
		ranged := strings.HasPrefix(a.String(), "hmac")
		for _, n := range []int{-1 << 63, -1, 0, 1, 15, 16, 32, 512, 513, 1 << 62} {
			want := kms.CodeBadRequest
			if n == 0 || ranged && n >= 16 && n <= 512 {
				want = 0
			}
			if err := kms.CheckSize(a, n); kms.CodeOf(err) != want {
				t.Errorf("%s of %d bytes: got %v want %s", a, n, err, want)
			}
		}
	}
	for _, a := range []kms.Algorithm{0, 255} {
		if err := kms.CheckSize(a, 0); kms.CodeOf(err) != kms.CodeAlgorithm {
			t.Errorf("algorithm %d: got %v want %s", a, err, kms.CodeAlgorithm)
		}
	}
}
