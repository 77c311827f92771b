package seal_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/seal/sealtest"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

func TestACollectorRefusesWhatDoesNotBelong(t *testing.T) {
	f, foreign := sealtest.New(t), sealtest.New(t)
	c, err := seal.NewCollector(f.Config)
	ok(t, err)
	if p := c.Progress(); p.K != 2 || p.N != 3 || len(p.Given) != 0 || p.Complete() {
		t.Errorf("progress before the first share: %+v", p)
	}
	_, err = c.Open()
	wantCode(t, err, kms.CodeBadShare)
	p, err := c.Add(f.Shares[2])
	if err != nil || !slices.Equal(p.Given, []int{3}) || p.Complete() || p.Recipient != f.Config.Recipients()[0].ID {
		t.Errorf("after share 3: %+v %v", p, err)
	}
	typo := []byte(string(f.Shares[0].Reveal(reveal.Key{})))
	typo[30] = "AB"[map[bool]int{true: 1, false: 0}[typo[30] == 'A']]
	for name, share := range map[string]*secret.Bytes{
		"given already":   f.Shares[2],
		"another cluster": foreign.Shares[0],
		"a typing error":  secret.Take(typo),
		"not a share":     secret.Copy([]byte("hello")),
		"nothing":         nil,
	} {
		t.Run(name, func(t *testing.T) {
			p, err := c.Add(share)
			wantCode(t, err, kms.CodeBadShare)
			if !slices.Equal(p.Given, []int{3}) {
				t.Errorf("a refused share changed the collection: %v", p.Given)
			}
			if err != nil && strings.Contains(err.Error(), string(f.Shares[2].Reveal(reveal.Key{}))[40:60]) {
				t.Error("the error shows a share")
			}
		})
	}
	_, err = c.Add(f.Shares[0])
	ok(t, err)
	if p := c.Progress(); !p.Complete() || !slices.Equal(p.Given, []int{1, 3}) {
		t.Errorf("after two shares: %+v", p)
	}
	_, err = c.Add(f.Shares[1])
	wantCode(t, err, kms.CodeBadShare) // no more are needed
	c.Reset()
	if p := c.Progress(); len(p.Given) != 0 {
		t.Errorf("after Reset: %+v", p)
	}
}

func TestWellFormedSharesOfAFalseSecretDoNotOpen(t *testing.T) {
	f := sealtest.New(t)
	// A recipient whose configuration names the set of one split and the public key of another seed.
	_, parts, err := seal.NewShares(now, "x", 2, 2)
	ok(t, err)
	params := append(parts[0].Set[:], 2, 2)
	e, err := seal.NewSeeded(now, seal.KindShares, "false", params, secret.Random(32))
	ok(t, err)
	config, err := f.Root.AddRecipient(f.Config, e)
	ok(t, err)
	c, err := seal.NewCollector(config)
	ok(t, err)
	if p := c.Progress(); p.K != 0 {
		t.Errorf("with two share sets it is not known which one is collected, got %+v", p)
	}
	for _, part := range parts {
		text, err := part.Text()
		ok(t, err)
		_, err = c.Add(secret.Take(text.Wire(release.Wire{})))
		ok(t, err)
	}
	_, err = c.Open()
	wantCode(t, err, kms.CodeWrongShares)
	if p := c.Progress(); len(p.Given) != 0 {
		t.Errorf("shares that failed are kept: %v", p.Given)
	}
}

func TestThereMustBeASharesRecipient(t *testing.T) {
	var es []seal.Enrolment
	for _, label := range []string{"a", "b"} {
		e, err := seal.NewKeyFile(now, label, secret.Random(32))
		ok(t, err)
		es = append(es, e)
	}
	c, _, err := seal.Init(seal.InitParams{Cluster: kms.ID{1}, Now: now, Recipients: es})
	ok(t, err)
	_, err = seal.NewCollector(c)
	wantCode(t, err, kms.CodeNotFound)
	if c.Development() {
		t.Error("a production configuration is marked for development")
	}
}
