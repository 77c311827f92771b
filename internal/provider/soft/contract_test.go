package soft_test

import (
	"crypto/fips140"
	"os"
	"slices"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/provider/providertest"
	"github.com/keyhold/keyhold/internal/provider/soft"
)

func TestContract(t *testing.T) {
	for _, profile := range profiles() {
		t.Run(profile.String(), func(t *testing.T) {
			providertest.Run(t, providertest.Options{
				New:        func(t *testing.T) provider.Provider { return newProvider(t, soft.Config{Profile: profile}) },
				Algorithms: creatable(profile),
				Profile:    profile,
				Thorough:   long(),
				Small:      profile != kms.ProfileDefault && !long(),
			})
		})
	}
}

// profiles are those that can be had in this process.
func profiles() []kms.Profile {
	if fips140.Enforced() {
		return []kms.Profile{kms.ProfileFIPS}
	}
	return kms.AllProfiles()
}

// creatable are the algorithms that the table lets a profile make for some usage.
func creatable(p kms.Profile) []kms.Algorithm {
	var all []kms.Algorithm
	for _, a := range kms.AllAlgorithms() {
		for _, u := range a.Usages() {
			if _, err := kms.CheckCreate(a, u, p); err == nil {
				all = append(all, a)
				break
			}
		}
	}
	return all
}

// TestTheFIPSProfileRefusesByTheTable: nothing that it refuses is made, opened or used, under enforcement or not, and nothing
// panics. The keys were made under the default profile, as if the profile had been changed later.
func TestTheFIPSProfileRefusesByTheTable(t *testing.T) {
	wrap, _ := keyOf(t)
	fips := newProvider(t, soft.Config{Profile: kms.ProfileFIPS})
	refused := 0
	for _, a := range kms.AllAlgorithms() {
		if slices.Contains(creatable(kms.ProfileFIPS), a) {
			continue
		}
		refused++
		if made, err := fips.Generate(provider.Spec{Algorithm: a}, wrap, place); kms.CodeOf(err) != kms.CodeProfile || made.Wrapped != nil {
			t.Errorf("generate %s: got %v want %s", a, err, kms.CodeProfile)
		}
		if _, private, err := fips.GeneratePair(a); kms.CodeOf(err) != kms.CodeProfile || private != nil {
			t.Errorf("a pair of %s: got %v want %s", a, err, kms.CodeProfile)
		}
		if fips140.Enforced() {
			if _, err := fips.Open(a, make([]byte, 200), wrap, place, make([]byte, 8)); kms.CodeOf(err) != kms.CodeProfile {
				t.Errorf("open %s: got %v want %s", a, err, kms.CodeProfile)
			}
			continue
		}
		made, err := newProvider(t, soft.Config{}).Generate(provider.Spec{Algorithm: a}, wrap, place)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fips.Open(a, made.Wrapped, wrap, place, made.Check); kms.CodeOf(err) != kms.CodeProfile {
			t.Errorf("open %s: got %v want %s", a, err, kms.CodeProfile)
		}
	}
	if refused != 12 {
		t.Errorf("%d algorithms are refused, want 12", refused)
	}
	x25519 := []byte("0*0\x05\x06\x03+en\x03!\x00 a public key of RFC 8410, X25519..")
	p256, err := fips.Generate(provider.Spec{Algorithm: kms.ECDHP256}, wrap, place)
	if err != nil {
		t.Fatal(err)
	}
	agreeing, err := fips.Open(kms.ECDHP256, p256.Wrapped, wrap, place, p256.Check)
	if err != nil {
		t.Fatal(err)
	}
	defer agreeing.Close()
	if _, err := agreeing.Agree(x25519[:44]); kms.CodeOf(err) != kms.CodeBadRequest {
		t.Errorf("P-256 with a key of X25519: got %v want %s", err, kms.CodeBadRequest)
	}
	made, err := fips.Generate(provider.Spec{Algorithm: kms.RSA2048}, wrap, place)
	if err != nil {
		t.Fatal(err)
	}
	h, err := fips.Open(kms.RSA2048, made.Wrapped, wrap, place, made.Check)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if _, err := h.Seal(nil, nil, []byte("x"), nil, kms.SchemeOAEPSHA1); kms.CodeOf(err) != kms.CodeProfile {
		t.Errorf("seal with SHA-1: got %v want %s", err, kms.CodeProfile)
	}
	if _, err := h.Open(nil, nil, make([]byte, 256), nil, kms.SchemeOAEPSHA1); kms.CodeOf(err) != kms.CodeProfile {
		t.Errorf("open with SHA-1: got %v want %s", err, kms.CodeProfile)
	}
}

// TestEnforcementOverridesTheProfile: a server of the default profile that is started where the module enforces says what it
// refuses, and why, instead of failing inside.
func TestEnforcementOverridesTheProfile(t *testing.T) {
	wrap, _ := keyOf(t)
	want := kms.Code(0)
	if fips140.Enforced() {
		want = kms.CodeProfile
	}
	if _, err := newProvider(t, soft.Config{}).Generate(provider.Spec{Algorithm: kms.ChaCha20Poly1305}, wrap, place); kms.CodeOf(err) != want {
		t.Errorf("enforced %v: got %v want %s", fips140.Enforced(), err, want)
	}
}

// long asks for the full sizes.
func long() bool { return os.Getenv("KEYHOLD_LONG") == "1" }

func newProvider(t testing.TB, c soft.Config) *soft.Provider {
	t.Helper()
	p, err := soft.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
