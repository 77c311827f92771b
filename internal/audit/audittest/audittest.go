// Package audittest has what tests need around an audit log: keys as an unsealed server has them, and records.
package audittest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
)

// Cluster is the cluster of the keys.
const Cluster = "test"

// Keys makes audit keys, and the public key as a verifier line.
func Keys(t testing.TB) (k audit.Keys, public string) {
	t.Helper()
	private, public, err := note.GenerateKey(rand.Reader, audit.KeyName(Cluster))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	var secret [32]byte
	rand.Read(secret[:]) //nolint:errcheck // never fails since Go 1.24
	return audit.Keys{Epoch: 7, MAC: MAC(7, secret), Signer: signer, Verifiers: note.VerifierList(verifier)}, public
}

// MAC is HMAC-SHA-256 under the key of one epoch.
func MAC(epoch uint32, secret [32]byte) func(uint32, []byte) ([32]byte, error) {
	return func(e uint32, msg []byte) (out [32]byte, err error) {
		if e != epoch {
			return out, errors.New("there is no such key")
		}
		h := hmac.New(sha256.New, secret[:])
		h.Write(msg) //nolint:errcheck // never fails
		h.Sum(out[:0])
		return out, nil
	}
}

// Record is a typical record of the use of a key, told from others by its request id, Request(i).
func Record(i int) *audit.Record {
	r := &audit.Record{
		Time: time.Unix(1_800_000_000, int64(i)).UTC(), Action: kms.Decrypt, Outcome: audit.OK, Dialect: kms.DialectAWS,
		Method: kms.AuthToken, Namespace: kms.DefaultNamespace, Keys: []audit.KeyUse{{Key: kms.ID{1}, Version: 1, Rev: 9}},
		RequestID: Request(i), Bytes: 32, Policies: []string{"use-orders"}, PolicyRev: 812, Scheme: kms.SchemeAESGCM,
		Name: "svc/orders", Home: kms.DefaultNamespace, Credential: "t-7Hq2", Remote: netip.MustParseAddrPort("10.1.2.3:5123"),
	}
	rand.Read(r.ID[:])   //nolint:errcheck // never fails since Go 1.24
	rand.Read(r.Salt[:]) //nolint:errcheck // never fails since Go 1.24
	return r
}

// Request is the request id of Record(i).
func Request(i int) string { return fmt.Sprintf("r-%d", i) }
