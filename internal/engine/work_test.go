package engine

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
)

// TestNothingOfARequestStaysInItsWork: what is kept for other operations knows nobody and no key. Fields that are added are
// held to it too.
func TestNothingOfARequestStaysInItsWork(t *testing.T) {
	e := &Engine{cfg: Config{Observe: func(kms.Action, time.Duration) {}}, now: time.Now}
	c := kms.Call{
		Principal: &kms.Principal{Name: "alice", Namespace: "default", Credential: "credential", Alias: [16]byte{1}, Salt: [16]byte{2}},
		Namespace: "default", RequestID: "request", Reason: "reason", Token: "token", Remote: netip.MustParseAddrPort("192.0.2.1:7"),
	}
	w := e.start(&c, kms.Encrypt)
	if w.rec.Name != "alice" || w.call == &c || w.call.Token != "token" {
		t.Fatalf("the work began as %+v", w)
	}
	w.rec.Keys = append(w.rec.Keys, audit.KeyUse{Key: kms.ID{3}, Version: 4})
	w.rec.Resource, w.rec.Context, w.rec.Detail = "key", [32]byte{5}, "detail"
	w.rec.Items = append(w.rec.Items, audit.Item{Bytes: 6})
	w.keys[1].items = items{n: 7}
	w.finish()
	if !reflect.ValueOf(w).Elem().IsZero() {
		t.Errorf("got %+v", w)
	}
	next := e.start(&kms.Call{}, kms.Decrypt)
	if next.rec.Name != "" || len(next.rec.Keys) != 0 || next.uses[0].Key != (kms.ID{}) || next.rec.Alias != [16]byte{} {
		t.Errorf("the next operation began as %+v", next)
	}
	next.finish()
}
