package soft_test

import (
	"os"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/provider/providertest"
	"github.com/keyhold/keyhold/internal/provider/soft"
)

func TestContract(t *testing.T) {
	for _, profile := range kms.AllProfiles() {
		t.Run(profile.String(), func(t *testing.T) {
			providertest.Run(t, providertest.Options{
				New:        func(t *testing.T) provider.Provider { return newProvider(t, soft.Config{Profile: profile}) },
				Algorithms: kms.AllAlgorithms(),
				Profile:    profile,
				Thorough:   long(),
				Small:      profile != kms.ProfileDefault && !long(),
			})
		})
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
