package vectors

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/mldsa"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"

	"github.com/keyhold/keyhold/internal/kms"
)

// latticeArc is the last arc of each size's object identifier.
var latticeArc = map[kms.Algorithm]int{kms.MLDSA44: 17, kms.MLDSA65: 18, kms.MLDSA87: 19}

// lattices are the two implementations, side by side.
var lattices = map[kms.Algorithm]struct {
	name   string
	params mldsa.Parameters
	sign   func(seed, message, context []byte) ([]byte, error) // circl, deterministic
}{
	kms.MLDSA44: {"mldsa_44", mldsa.MLDSA44(), func(seed, message, context []byte) ([]byte, error) {
		_, k := mldsa44.NewKeyFromSeed((*[32]byte)(seed))
		out := make([]byte, mldsa44.SignatureSize)
		return out, mldsa44.SignTo(k, message, context, false, out)
	}},
	kms.MLDSA65: {"mldsa_65", mldsa.MLDSA65(), func(seed, message, context []byte) ([]byte, error) {
		_, k := mldsa65.NewKeyFromSeed((*[32]byte)(seed))
		out := make([]byte, mldsa65.SignatureSize)
		return out, mldsa65.SignTo(k, message, context, false, out)
	}},
	kms.MLDSA87: {"mldsa_87", mldsa.MLDSA87(), func(seed, message, context []byte) ([]byte, error) {
		_, k := mldsa87.NewKeyFromSeed((*[32]byte)(seed))
		out := make([]byte, mldsa87.SignatureSize)
		return out, mldsa87.SignTo(k, message, context, false, out)
	}},
}

// TestMLDSAOfTwoImplementations: from each seed of the vectors the provider derives the public key of the vectors; both
// implementations make the deterministic signature of the vectors; and what the provider signs, the other accepts.
func TestMLDSAOfTwoImplementations(t *testing.T) {
	w := newWorld(t)
	for a, l := range lattices {
		keys, signatures := 0, 0
		for _, g := range file(t, l.name+"_sign_seed") {
			var public hexBytes
			if len(g.PrivateSeed) != 32 {
				_, err := w.load(t, a, seed, g.PrivateSeed, []byte("none"))
				wantCode(t, l.name+" seed", len(g.PrivateSeed), err, kms.CodeRecordDamaged)
				continue
			}
			if err := json.Unmarshal(g.PublicKey, &public); err != nil {
				t.Fatal(err)
			}
			keys++
			h := w.mustLoad(t, a, seed, g.PrivateSeed, nistSPKI(t, latticeArc[a], public))
			private, err := mldsa.NewPrivateKey(l.params, g.PrivateSeed)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(private.PublicKey().Bytes(), public) {
				t.Errorf("%s: the other implementation has another public key", l.name)
			}
			for _, v := range g.Tests {
				if len(v.Msg) == 0 && len(v.Mu) > 0 && v.Result != "valid" || len(v.Ctx) > 255 {
					continue
				}
				ours, err := h.Sign(v.Msg, kms.Form{}, kms.NoScheme)
				if err != nil {
					t.Fatal(err)
				}
				if err := mldsa.Verify(private.PublicKey(), v.Msg, ours, nil); err != nil {
					t.Errorf("%s, vector %d: the other implementation: %v", l.name, v.ID, err)
				}
				circl, err1 := l.sign(g.PrivateSeed, v.Msg, v.Ctx)
				other, err2 := private.SignDeterministic(v.Msg, &mldsa.Options{Context: string(v.Ctx)})
				if err1 != nil || err2 != nil || !bytes.Equal(circl, other) {
					t.Errorf("%s, vector %d: the two implementations differ: %v, %v", l.name, v.ID, err1, err2)
				}
				if v.Result == "valid" && !strings.HasPrefix(v.Comment, "randomized") && len(v.Sig) > 0 && len(v.Msg) > 0 {
					signatures++
					if !bytes.Equal(circl, v.Sig) {
						t.Errorf("%s, vector %d (%s): signed %.20x… want %.20x…", l.name, v.ID, v.Comment, circl, v.Sig)
					}
				}
			}
		}
		if keys < 3 || signatures < 20 {
			t.Errorf("%s: %d keys and %d signatures were compared", l.name, keys, signatures)
		}
	}
}

// slhdsa reads a file of the FIPS 205 ACVP vectors that circl carries for its own tests.
func slhdsa(t *testing.T, name string, into any) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir(t, "github.com/cloudflare/circl"), "sign", "slhdsa", "testdata", name+".json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(into); err != nil {
		t.Fatal(err)
	}
}

type hashGroups struct {
	TestGroups []struct {
		ID                                        int `json:"tgId"`
		ParameterSet, SignatureInterface, PreHash string
		Tests                                     []struct {
			ID                                  int `json:"tcId"`
			SK, PK, Message, Context, Signature hexBytes
			TestPassed                          bool
		}
	}
}

var hashSets = map[string]struct {
	a   kms.Algorithm
	oid int
}{
	"SLH-DSA-SHA2-128s": {kms.SLHDSASHA2128s, 20},
	"SLH-DSA-SHA2-128f": {kms.SLHDSASHA2128f, 21},
}

// TestSLHDSAVerifiesAsACVPSays: pure signatures; those with a context must be refused, as the provider has none.
func TestSLHDSAVerifiesAsACVPSays(t *testing.T) {
	w := newWorld(t)
	var prompt, results hashGroups
	slhdsa(t, "verify_prompt", &prompt)
	slhdsa(t, "verify_results", &results)
	good, bad := 0, 0
	for i, g := range prompt.TestGroups {
		set, ok := hashSets[g.ParameterSet]
		if !ok || g.SignatureInterface != "external" || g.PreHash != "pure" {
			continue
		}
		for j, v := range g.Tests {
			answer := results.TestGroups[i].Tests[j]
			if results.TestGroups[i].ID != g.ID || answer.ID != v.ID {
				t.Fatal("questions and answers are not in one order")
			}
			want := kms.CodeBadSignature
			if answer.TestPassed && len(v.Context) == 0 {
				want, good = 0, good+1
			} else {
				bad++
			}
			wantCode(t, g.ParameterSet, v.ID, w.Verify(set.a, nistSPKI(t, set.oid, v.PK), v.Message, v.Signature, false, kms.NoScheme), want)
		}
	}
	if good+bad < 5 || bad < 3 {
		t.Errorf("%d good and %d bad vectors were run", good, bad)
	}
}

// TestSLHDSAKeysAreThoseOfACVP: a private key of the vectors opens as the key pair of the vectors, signs, and its recorded
// signature verifies where it has no context.
func TestSLHDSAKeysAreThoseOfACVP(t *testing.T) {
	w := newWorld(t)
	var keys, keyPrompt, signPrompt, signed hashGroups
	slhdsa(t, "keyGen_prompt", &keyPrompt)
	slhdsa(t, "keyGen_results", &keys)
	slhdsa(t, "sigGen_prompt", &signPrompt)
	slhdsa(t, "sigGen_results", &signed)
	pairs, signatures := 0, 0
	for i, g := range keyPrompt.TestGroups {
		set, ok := hashSets[g.ParameterSet]
		if !ok {
			continue
		}
		for j, v := range keys.TestGroups[i].Tests {
			pairs++
			public := nistSPKI(t, set.oid, v.PK)
			h := w.mustLoad(t, set.a, raw, v.SK, public)
			if j > 0 && set.a == kms.SLHDSASHA2128s {
				continue // one signature takes a third of a second
			}
			signature, err := h.Sign([]byte("message"), kms.Form{}, kms.NoScheme)
			if err != nil {
				t.Fatal(err)
			}
			wantCode(t, g.ParameterSet, v.ID, w.Verify(set.a, public, []byte("message"), signature, false, kms.NoScheme), 0)
		}
	}
	for i, g := range signPrompt.TestGroups {
		set, ok := hashSets[g.ParameterSet]
		if !ok || g.SignatureInterface != "external" || g.PreHash != "pure" {
			continue
		}
		for j, v := range g.Tests {
			want := kms.Code(0)
			if len(v.Context) > 0 {
				want = kms.CodeBadSignature
			} else {
				signatures++
			}
			public := nistSPKI(t, set.oid, v.SK[len(v.SK)/2:])
			wantCode(t, g.ParameterSet, v.ID, w.Verify(set.a, public, v.Message, signed.TestGroups[i].Tests[j].Signature, false, kms.NoScheme), want)
		}
	}
	if pairs < 4 || signatures < 2 {
		t.Errorf("%d pairs and %d signatures were compared", pairs, signatures)
	}
}
