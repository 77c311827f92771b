package kms_test

import (
	"slices"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
)

// TestOnlyRSAKeysOfTransitHaveTwoPurposes: every other key serves one, and no key has the same one twice.
func TestOnlyRSAKeysOfTransitHaveTwoPurposes(t *testing.T) {
	transit := kms.Transit{Mac: true}
	both := []kms.Usage{kms.SignVerify, kms.EncryptDecrypt}
	for _, a := range kms.AllAlgorithms() {
		for _, u := range kms.AllUsages() {
			for _, also := range kms.AllUsages() {
				err := kms.CheckAlso(a, u, also, transit, kms.ProfileDefault)
				if rsa := a == kms.RSA2048 || a == kms.RSA3072 || a == kms.RSA4096; rsa && u != also && slices.Contains(both, u) && slices.Contains(both, also) {
					if err != nil {
						t.Errorf("%s for %s and %s: %v", a, u, also, err)
					}
				} else if err == nil {
					t.Errorf("%s for %s and %s: got nothing, want a refusal", a, u, also)
				}
				if err := kms.CheckAlso(a, u, also, kms.Transit{}, kms.ProfileDefault); kms.CodeOf(err) != kms.CodeUsage {
					t.Errorf("%s for %s and %s, of another dialect: got %v, want %s", a, u, also, err, kms.CodeUsage)
				}
			}
			if err := kms.CheckAlso(a, u, 0, kms.Transit{}, kms.ProfileDefault); err != nil {
				t.Errorf("%s for %s alone: %v", a, u, err)
			}
		}
	}
	k := kms.Key{Usage: kms.SignVerify, Also: kms.EncryptDecrypt}
	for _, u := range append(kms.AllUsages(), 0) {
		if got, want := k.Serves(u), u == kms.SignVerify || u == kms.EncryptDecrypt; got != want {
			t.Errorf("serves %s: got %v, want %v", u, got, want)
		}
	}
	if one := (&kms.Key{Usage: kms.SignVerify}); one.Serves(0) || one.Serves(kms.EncryptDecrypt) {
		t.Error("a key with one purpose serves another")
	}
}
