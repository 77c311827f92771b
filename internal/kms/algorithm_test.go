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

var usages = []kms.Usage{kms.EncryptDecrypt, kms.SignVerify, kms.MAC}

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
				want := kms.CodeUsage
				for _, ok := range can {
					if ok == u {
						want = 0
					}
				}
				if got, err := kms.CheckCreate(a, u, p); kms.CodeOf(err) != want || want == 0 && got != u {
					t.Errorf("%s for %s: got %s, %v want %s", a, u, got, err, want)
				}
			}
			got, err := kms.CheckCreate(a, 0, p)
			if len(can) > 1 && kms.CodeOf(err) != kms.CodeUsage || len(can) == 1 && (err != nil || got != can[0]) {
				t.Errorf("%s without a usage: got %s, %v", a, got, err)
			}
		}
	}
	for _, a := range []kms.Algorithm{0, kms.RSA4096 + 1, 255} {
		if _, err := kms.CheckCreate(a, 0, kms.ProfileDefault); kms.CodeOf(err) != kms.CodeAlgorithm {
			t.Errorf("algorithm %d: got %v want %s", a, err, kms.CodeAlgorithm)
		}
		for _, u := range append(usages, 0, 255) {
			if _, err := kms.CheckScheme(a, u, kms.NoScheme, kms.ProfileDefault, false); kms.CodeOf(err) != kms.CodeAlgorithm {
				t.Errorf("algorithm %d, usage %d: got %v want %s", a, u, err, kms.CodeAlgorithm)
			}
		}
	}
}

// TestStrengthFollowsSP80057: part 1 rev. 5 tables 2 and 3; RSA-4096 after SP 800-56B rev. 2 appendix D.
func TestStrengthFollowsSP80057(t *testing.T) {
	for a, want := range map[kms.Algorithm][2]int{
		kms.AES128GCM: {128, 128}, kms.AES192GCM: {192, 192}, kms.AES256GCM: {256, 256},
		kms.HMACSHA256: {256, 256}, kms.HMACSHA384: {384, 256}, kms.HMACSHA512: {512, 256},
		kms.ECDSAP256: {256, 128}, kms.ECDSAP384: {384, 192}, kms.Ed25519: {256, 128},
		kms.RSA2048: {2048, 112}, kms.RSA3072: {3072, 128}, kms.RSA4096: {4096, 152},
	} {
		if f := a.Facts(); f.Bits != want[0] || f.Strength != want[1] {
			t.Errorf("%s: got %d bits, strength %d want %v", a, f.Bits, f.Strength, want)
		}
		asymmetric := a >= kms.ECDSAP256
		if f := a.Facts(); f.Asymmetric != asymmetric || f.Slow != (a >= kms.RSA2048) {
			t.Errorf("%s: asymmetric %v, slow %v", a, f.Asymmetric, f.Slow)
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
	if _, err := kms.ParseUsage("wrap"); kms.CodeOf(err) != kms.CodeBadRequest {
		t.Errorf("usage wrap: got %v", err)
	}
}
