package witness_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/formats/witness"
	"golang.org/x/mod/sumdb/note"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/audittest"
	"github.com/keyhold/keyhold/internal/audit/cosign"
	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/audit/verify"
	ours "github.com/keyhold/keyhold/internal/audit/witness"
)

const soon = 20 * time.Second

func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	for end := time.Now().Add(soon); !yes(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

// theirCosigner answers every request with their cosignature.
func theirCosigner(t *testing.T) (vkey string, s *httptest.Server) {
	t.Helper()
	skey, plain, err := note.GenerateKey(rand.Reader, "witness.example/theirs")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := fnote.NewSignerForCosignatureV1(skey)
	if err != nil {
		t.Fatal(err)
	}
	if vkey, err = fnote.VKeyToCosignatureV1(plain); err != nil {
		t.Fatal(err)
	}
	s = httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_, msg, _ := strings.Cut(string(body), "\n\n")
		text, _, _ := strings.Cut(msg, "\n\n")
		signed, err := note.Sign(&note.Note{Text: text + "\n"}, signer)
		if err != nil {
			t.Error(err)
		}
		_, line, _ := bytes.Cut(signed, []byte("\n\n"))
		if _, err := out.Write(line); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return vkey, s
}

// Their cosignatures under our log's checkpoints are taken by our log and our verifier, and satisfy their policy; their reader reads our proofs.
func TestTheirCosignaturesAreTaken(t *testing.T) {
	keys, logKey := audittest.Keys(t)
	vkey, s := theirCosigner(t)
	asks, err := cosign.ParseWitness(vkey + " " + s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if asks.Key.Key() != vkey {
		t.Errorf("their verifier key is %s to us, and %s to them", asks.Key.Key(), vkey)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	dir := t.TempDir()
	pub, err := verify.ParseKeys([]byte(logKey))
	if err != nil {
		t.Fatal(err)
	}
	pub.Witnesses = verify.Witnesses{Known: []*tree.Witness{asks.Key}}
	policy, err := witness.ParsePolicy([]byte("log " + logKey + "\nwitness w1 " + vkey + " " + s.URL + "\nquorum w1\n"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := audit.Open(audit.Config{Dir: dir, Node: "n1", Cluster: audittest.Cluster, SegmentBytes: audit.MinSegment, ReserveBytes: -1, Witnesses: pub.Witnesses.Known})
	if err != nil {
		t.Fatal(err)
	}
	p := cosign.New(cosign.Config{Log: l, Witnesses: []cosign.Witness{asks}, Dir: filepath.Join(dir, "n1"), Every: 20 * time.Millisecond, Roots: roots})
	p.Start()
	for round := range 4 {
		var at audit.Position
		for i := range 1 + 13*round {
			if at, err = l.Append(audittest.Record(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Keyed(keys); err != nil {
			t.Fatal(err)
		}
		size := l.Size()
		eventually(t, "their cosignature is there", func() bool {
			c, err := tree.Unverified(l.Witnessed())
			return err == nil && c.Size >= size
		})
		if !policy.Satisfied(l.Witnessed()) {
			t.Errorf("round %d: their policy is not satisfied by\n%s", round, l.Witnessed())
		}
		text, err := l.Prove(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := verify.Proof(text, pub); err != nil || len(got.Cosigned) != 1 || time.Since(got.Cosigned[0].Time).Abs() > time.Minute {
			t.Errorf("our verifier: %+v, %v", got, err)
		}
		var read proof.TLogProof
		if err := read.Unmarshal(text); err != nil || read.Index != at.Seq || !bytes.Equal(read.Marshal(), text) {
			t.Errorf("their reader of proofs: index %d, want %d: %v", read.Index, at.Seq, err)
		}
	}
	p.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if rep, err := verify.Dir(t.Context(), verify.Options{Dir: dir, Keys: pub}); err != nil || !rep.Verified || !rep.Cosigned {
		t.Errorf("the whole log: %+v, %v", rep, err)
	}
}

// What our witness cosigns, their code verifies.
func TestOurCosignaturesAreTaken(t *testing.T) {
	skey, logKey, err := note.GenerateKey(rand.Reader, "log.example")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(logKey)
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	self, err := tree.NewWitness("witness.example/ours", public)
	if err != nil {
		t.Fatal(err)
	}
	w, err := ours.Open(ours.Config{Dir: t.TempDir(), Logs: []note.Verifier{verifier}, Witness: self, Sign: func(msg []byte) ([]byte, error) { return ed25519.Sign(private, msg), nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() //nolint:errcheck // nothing is left to be written
	theirs, err := fnote.NewVerifierForCosignatureV1(self.Key())
	if err != nil {
		t.Fatalf("our verifier key, to them: %v", err)
	}
	root, err := url.Parse("https://witness.example/")
	if err != nil {
		t.Fatal(err)
	}
	policy, err := witness.New(self.Key(), root)
	if err != nil {
		t.Fatal(err)
	}
	for size := range uint64(5) {
		msg, err := tree.Checkpoint{Origin: "log.example/" + strings.Repeat("x", int(size)), Size: size + 1, Root: tree.Hash{byte(size)}}.Sign(signer) //nolint:gosec // G115: small
		if err != nil {
			t.Fatal(err)
		}
		line, err := w.Add((&tree.Extension{Checkpoint: msg}).Text())
		if err != nil {
			t.Fatal(err)
		}
		signed := append(msg, line...)
		n, err := note.Open(signed, note.VerifierList(verifier, theirs))
		if err != nil || len(n.Sigs) != 2 || !policy.Satisfied(signed) {
			t.Fatalf("their verifier: %v, %v\n%s", n, err, signed)
		}
		if stamp, err := fnote.CoSigV1Timestamp(n.Sigs[1]); err != nil || time.Since(stamp).Abs() > time.Minute {
			t.Errorf("the time in it: %s, %v", stamp, err)
		}
	}
}
