package passphrase

import (
	"crypto/fips140"
	"encoding/hex"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

var phrase = secret.Copy([]byte("correct horse battery staple"))

// Made with the phrase above and the salt 00 01 … 0f by an independent implementation (OpenSSL 3, by Python's cryptography and hashlib).
var vectors = map[KDF]string{
	Argon2id: "853b272a44db1421c02962669a55eb0994f3cab385ed1c4c79253eee19bab49e",
	PBKDF2:   "b5f3fa7459cc14b9bce1eac5142fe1583cdbe9f02300f080b3446f24b8aee716",
}

func fixed(k KDF) Params {
	p := Params{KDF: k, Rounds: 210_000}
	if k == Argon2id {
		p = Params{KDF: k, Rounds: 3, Memory: 64 << 10, Lanes: 4}
	}
	for i := range p.Salt {
		p.Salt[i] = byte(i)
	}
	return p
}

func TestSeedsAgreeWithAnIndependentImplementation(t *testing.T) {
	for kdf, want := range vectors {
		if kdf == Argon2id && fips140.Enforced() {
			continue // refused: TestTheFIPSProfileRefusesArgon2id
		}
		seed, err := fixed(kdf).Seed(phrase, kms.ProfileDefault)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(seed.Reveal(reveal.Key{})); got != want {
			t.Errorf("%s: got %s, want %s", kdf, got, want)
		}
	}
}

func TestTheFIPSProfileRefusesArgon2id(t *testing.T) {
	_, err := fixed(Argon2id).Seed(phrase, kms.ProfileFIPS)
	if kms.CodeOf(err) != kms.CodeProfile {
		t.Errorf("under the fips profile: got %v, want CodeProfile", err)
	}
	// The mode itself does not see third-party code: the gate must.
	_, err = fixed(Argon2id).Seed(phrase, kms.ProfileDefault)
	if got, want := kms.CodeOf(err) == kms.CodeProfile, fips140.Enforced(); got != want {
		t.Errorf("refused %v under fips140=only %v: %v", got, want, err)
	}
	if got := New(kms.ProfileFIPS).KDF; got != PBKDF2 {
		t.Errorf("a new passphrase under the fips profile uses %s", got)
	}
	if got, want := New(kms.ProfileDefault).KDF == PBKDF2, fips140.Enforced(); got != want {
		t.Errorf("a new passphrase uses PBKDF2: %v, under fips140=only: %v", got, want)
	}
}

func TestParametersAreBoundedWhenRead(t *testing.T) {
	good := fixed(Argon2id)
	if got, err := Parse(good.Bytes()); err != nil || got != good {
		t.Fatalf("got %v %v", got, err)
	}
	for name, change := range map[string]func(*Params){
		"unknown kdf":       func(p *Params) { p.KDF = 3 },
		"one pass":          func(p *Params) { p.Rounds = 1 },
		"many passes":       func(p *Params) { p.Rounds = 17 },
		"little memory":     func(p *Params) { p.Memory = 19<<10 - 1 },
		"much memory":       func(p *Params) { p.Memory = 1<<20 + 1 },
		"no lanes":          func(p *Params) { p.Lanes = 0 },
		"many lanes":        func(p *Params) { p.Lanes = 17 },
		"few iterations":    func(p *Params) { *p = fixed(PBKDF2); p.Rounds = 209_999 },
		"many iterations":   func(p *Params) { *p = fixed(PBKDF2); p.Rounds = 10_000_001 },
		"pbkdf2 and memory": func(p *Params) { *p = fixed(PBKDF2); p.Memory = 1 },
	} {
		p := good
		change(&p)
		if _, err := Parse(p.Bytes()); kms.CodeOf(err) != kms.CodeRecordDamaged {
			t.Errorf("%s: got %v, want CodeRecordDamaged", name, err)
		}
		if _, err := p.Seed(phrase, kms.ProfileDefault); kms.CodeOf(err) != kms.CodeRecordDamaged {
			t.Errorf("%s: Seed gives %v, want CodeRecordDamaged", name, err)
		}
	}
}

func TestPhrasesHaveASize(t *testing.T) {
	for _, n := range []int{0, MinSize - 1, MaxSize + 1} {
		if _, err := fixed(PBKDF2).Seed(secret.Random(n), kms.ProfileFIPS); kms.CodeOf(err) != kms.CodeBadRequest {
			t.Errorf("%d bytes: got %v, want CodeBadRequest", n, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(fixed(Argon2id).Bytes())
	f.Add(fixed(PBKDF2).Bytes())
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := Parse(in)
		if err != nil {
			if kms.CodeOf(err) != kms.CodeRecordDamaged {
				t.Fatalf("got %v, want CodeRecordDamaged", err)
			}
			return
		}
		if string(p.Bytes()) != string(in) || p.Check() != nil {
			t.Fatalf("%x reads as %+v and is written as %x", in, p, p.Bytes())
		}
	})
}
