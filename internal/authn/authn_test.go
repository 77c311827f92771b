package authn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/wire/token"
)

// records is a set of credentials that can be changed, and held up, while it is asked.
type records struct {
	mu       sync.Mutex // guards what follows
	tokens   map[kms.ID]Identity
	subjects map[string]Identity
	used     map[kms.ID]uint32
	keys     map[string]Identity // access keys, and sessions by their tokens
	rev      kms.Rev
	fault    error

	asked   atomic.Int64
	between func() // called after an answer was read and before it is given
}

func newRecords() *records {
	return &records{tokens: map[kms.ID]Identity{}, subjects: map[string]Identity{}, keys: map[string]Identity{}, used: map[kms.ID]uint32{}}
}

func (r *records) answer(id Identity, ok bool) (Identity, error) {
	if r.fault != nil {
		return Identity{}, r.fault
	}
	if !ok {
		return Identity{}, kms.Errorf(kms.CodeUnauthenticated, "no such credential")
	}
	return id, nil
}

func (r *records) Token(_ context.Context, id kms.ID) (Identity, error) {
	r.asked.Add(1)
	r.mu.Lock()
	found, ok := r.tokens[id]
	got, err := r.answer(found, ok)
	r.mu.Unlock()
	if r.between != nil {
		r.between()
	}
	return got, err
}

func (r *records) Certificate(_ context.Context, subject string) (Identity, error) {
	r.asked.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	found, ok := r.subjects[subject]
	return r.answer(found, ok)
}

func (r *records) AccessKey(_ context.Context, id string) (Identity, error) {
	r.asked.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	found, ok := r.keys[id]
	found.Secret = copyOf(found.Secret)
	return r.answer(found, ok)
}

// UseToken takes one of the uses that a token has.
func (r *records) UseToken(_ context.Context, id kms.ID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	found, ok := r.tokens[id]
	if !ok || found.Uses <= r.used[id] {
		return kms.Errorf(kms.CodeUnauthenticated, "used up")
	}
	r.used[id]++
	return nil
}

func (r *records) Session(ctx context.Context, token string) (Identity, error) {
	return r.AccessKey(ctx, token)
}

// add makes a token with a number for its id and secret and gives its text.
func (r *records) add(n int, change ...func(*Identity)) (kms.ID, string) {
	id, secret := idOf(n), secretOf(n)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rev++
	rec := Identity{
		Principal: kms.Principal{
			Name: fmt.Sprintf("svc/%d", n), Namespace: kms.DefaultNamespace, Roles: []kms.Role{kms.RoleUser},
			Method: kms.AuthToken, Credential: id.String(),
		},
		Digest: token.Digest(secret),
		Rev:    r.rev,
	}
	for _, c := range change {
		c(&rec)
	}
	r.tokens[id] = rec
	return id, text(id, n)
}

func (r *records) revoke(id kms.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rev++
	rec := r.tokens[id]
	rec.Revoked, rec.Rev = true, r.rev
	r.tokens[id] = rec
}

func idOf(n int) kms.ID {
	return kms.NewID(time.UnixMilli(1), [10]byte{0, byte(n >> 16), 0, byte(n >> 8), byte(n)})
}

func secretOf(n int) []byte {
	s := make([]byte, token.SecretSize)
	s[0], s[1], s[31] = byte(n), byte(n>>8), 7
	return s
}

func text(id kms.ID, n int) string { return string(token.Format(id, secretOf(n))) }

func header(text string) http.Header { return http.Header{"Authorization": {"Bearer " + text}} }

var (
	here  = netip.MustParseAddrPort("192.0.2.1:40000")
	there = netip.MustParseAddrPort("198.51.100.7:40000")
)

// clock is a time that a test moves.
type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ns.Store(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.ns.Load()) }
func (c *clock) advance(d time.Duration) { c.ns.Add(int64(d)) }

func ask(a *Authenticator, text string, from netip.AddrPort) (*kms.Principal, error) {
	return a.Authenticate(context.Background(), header(text), nil, from)
}

func wantCode(t *testing.T, err error, want kms.Code) *kms.Error {
	t.Helper()
	if got := kms.CodeOf(err); got != want {
		t.Fatalf("got %v (%v), want %v", got, err, want)
	}
	return kms.AsError(err)
}

func TestATokenNamesItsPrincipal(t *testing.T) {
	r := newRecords()
	_, tok := r.add(1)
	a := New(Config{Identities: r})
	first, err := ask(a, tok, here)
	if err != nil {
		t.Fatal(err)
	}
	second, err := a.Authenticate(context.Background(), http.Header{"Authorization": {"bEARER " + tok}}, nil, there)
	if err != nil {
		t.Fatal(err)
	}
	if first != second || first.Name != "svc/1" || !first.Standing.Stands() {
		t.Errorf("got %+v and %+v, want one standing svc/1", first, second)
	}
	if got := r.asked.Load(); got != 1 {
		t.Errorf("records asked %d times, want once", got)
	}
}

func TestEveryWrongCredentialGetsTheSameAnswer(t *testing.T) {
	r := newRecords()
	known, good := r.add(1)
	gone, _ := r.add(2)
	r.revoke(gone)
	a := New(Config{Identities: r})
	if _, err := ask(a, good, here); err != nil {
		t.Fatal(err)
	}
	var want string
	for name, tok := range map[string]string{
		"malformed":           "kh_x",
		"empty":               "",
		"unknown id":          text(idOf(77), 77),
		"wrong secret, kept":  text(known, 2),
		"revoked":             text(gone, 2),
		"revoked, wrong":      text(gone, 3),
		"unknown, its secret": text(idOf(78), 1),
	} {
		_, err := ask(a, tok, here)
		e := wantCode(t, err, kms.CodeUnauthenticated)
		if want == "" {
			want = e.Error()
		}
		if e.Error() != want {
			t.Errorf("%s: got %q, want %q", name, e.Error(), want)
		}
	}
	for name, h := range map[string]http.Header{
		"none":  {},
		"two":   {"Authorization": {"Bearer " + good, "Bearer " + good}},
		"basic": {"Authorization": {"Basic Zm9vOmJhcg=="}},
		"short": {"Authorization": {"Bear"}},
		"glued": {"Authorization": {"Bearer" + good}},
	} {
		if p, err := a.Authenticate(context.Background(), h, nil, here); kms.CodeOf(err) != kms.CodeUnauthenticated || p != nil {
			t.Errorf("%s: got %v %v", name, p, err)
		}
	}
}

func TestAQuestionThatCannotBeAnsweredIsPassedOn(t *testing.T) {
	r := newRecords()
	_, tok := r.add(1)
	r.fault = kms.Errorf(kms.CodeSealed, "the server is sealed")
	a := New(Config{Identities: r, LockOut: LockOut{Failures: 2}})
	for range 5 {
		_, err := ask(a, tok, here)
		wantCode(t, err, kms.CodeSealed)
	}
	r.fault = errors.New("disk on fire")
	_, err := ask(a, tok, here)
	wantCode(t, err, kms.CodeInternal)
	r.fault = nil
	if _, err := ask(a, tok, here); err != nil {
		t.Errorf("after the fault: %v; it must not have counted as a failed authentication", err)
	}
}

func TestAWithdrawalEndsCallsInFlight(t *testing.T) {
	r := newRecords()
	id, tok := r.add(1)
	_, other := r.add(2)
	a := New(Config{Identities: r})
	p, err := ask(a, tok, here)
	if err != nil {
		t.Fatal(err)
	}
	q, err := ask(a, other, here)
	if err != nil {
		t.Fatal(err)
	}
	r.revoke(id)
	a.ForgetToken(id)
	if p.Standing.Stands() {
		t.Error("the withdrawn credential still stands")
	}
	if !q.Standing.Stands() {
		t.Error("the other credential no longer stands")
	}
	_, err = ask(a, tok, here)
	wantCode(t, err, kms.CodeUnauthenticated)
}

func TestALookUpFromBeforeAWithdrawalIsNotKept(t *testing.T) {
	r := newRecords()
	id, tok := r.add(1)
	a := New(Config{Identities: r})
	once := sync.OnceFunc(func() { r.revoke(id); a.ForgetToken(id) })
	r.between = once // the answer was read before, and is given after
	_, err := ask(a, tok, here)
	wantCode(t, err, kms.CodeUnauthenticated)
	if got := r.asked.Load(); got != 2 {
		t.Errorf("asked %d times, want 2: the first answer was stale", got)
	}
	if a.Stats().Credentials != 0 {
		t.Error("the stale answer was kept")
	}
}

func TestWithdrawalsThatKeepComingCannotKeepAStaleEntry(t *testing.T) {
	r := newRecords()
	id, tok := r.add(1)
	a := New(Config{Identities: r})
	r.between = func() { a.ForgetToken(id) }
	p, err := ask(a, tok, here)
	if err != nil {
		t.Fatalf("the credential is good: %v", err)
	}
	if a.Stats().Credentials != 0 {
		t.Error("an answer older than a withdrawal was kept")
	}
	r.between = nil
	if !p.Standing.Stands() {
		t.Error("the credential was not changed: it must stand")
	}
	r.revoke(id)
	a.ForgetToken(id)
	if p.Standing.Stands() {
		t.Error("the entry off the shelf missed the withdrawal")
	}
}

// Whoever asks after a withdrawal returned is refused, and whoever was admitted before finds the standing gone,
// however the look-ups and withdrawals interleave and whatever is dropped to make room.
func TestNoInterleavingOutlivesAWithdrawal(t *testing.T) {
	const creds, askers = 200, 4
	r := newRecords()
	a := New(Config{Identities: r, Entries: shards, LockOut: LockOut{Failures: 1 << 30}, Failures: Rate{1e9, 1 << 30}})
	texts := make([]string, creds)
	ids := make([]kms.ID, creds)
	for i := range creds {
		ids[i], texts[i] = r.add(i)
	}
	var withdrawn [creds]atomic.Bool
	var admitted [askers + 1][]*kms.Principal
	var stop atomic.Bool
	var wg, started sync.WaitGroup
	started.Add(askers)
	for w := range askers {
		wg.Go(func() {
			first := sync.OnceFunc(started.Done)
			defer first()
			for n := w; !stop.Load(); n++ {
				if n > w {
					first()
				}
				i := n * 7 % creds
				was := withdrawn[i].Load()
				p, err := ask(a, texts[i], here)
				if err == nil && was {
					t.Errorf("credential %d was admitted after its withdrawal", i)
					return
				}
				if err == nil && len(admitted[w]) < 100_000 {
					admitted[w] = append(admitted[w], p)
				}
			}
		})
	}
	started.Wait() // on a busy machine all could be withdrawn before anybody asks
	for i := range creds {
		for range 20 {
			_, _ = ask(a, texts[(i+1)%creds], there)
		}
		if p, err := ask(a, texts[i], there); err == nil {
			admitted[askers] = append(admitted[askers], p)
		}
		runtime.Gosched()
		r.revoke(ids[i])
		if i%10 == 9 {
			a.ForgetAll()
		} else {
			a.ForgetToken(ids[i])
		}
		withdrawn[i].Store(true)
	}
	stop.Store(true)
	wg.Wait()
	seen := map[*kms.Principal]bool{}
	for _, list := range admitted {
		for _, p := range list {
			if !seen[p] && p.Standing.Stands() {
				t.Fatalf("%s stands after its withdrawal", p.Name)
			}
			seen[p] = true
		}
	}
	if len(seen) < creds/2 {
		t.Errorf("only %d principals were ever admitted: the test tested nothing", len(seen))
	}
}

func TestMakingRoomDoesNotEndACall(t *testing.T) {
	r := newRecords()
	id, tok := r.add(0)
	a := New(Config{Identities: r, Entries: 1})
	p, err := ask(a, tok, here)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < 1000; n++ {
		_, other := r.add(n)
		if _, err := ask(a, other, here); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.Stats().Credentials; got > shards {
		t.Errorf("%d credentials kept, want at most %d", got, shards)
	}
	before := r.asked.Load()
	if !p.Standing.Stands() {
		t.Error("a good credential ended because others came")
	}
	if r.asked.Load() == before {
		t.Error("the entry is still on the shelf: the test tested nothing")
	}
	r.fault = kms.Errorf(kms.CodeSealed, "sealed")
	if p.Standing.Stands() {
		t.Error("it stands although nobody can say so")
	}
	r.fault = nil
	if !p.Standing.Stands() {
		t.Error("it does not stand although the records can be asked again")
	}
	r.revoke(id)
	a.ForgetToken(id)
	if p.Standing.Stands() {
		t.Error("it stands after its withdrawal")
	}
}

func TestForgettingEverythingAsksAgain(t *testing.T) {
	r := newRecords()
	_, same := r.add(1)
	changed, tok := r.add(2)
	a := New(Config{Identities: r})
	p, _ := ask(a, same, here)
	q, _ := ask(a, tok, here)
	r.add(2) // another revision
	a.ForgetAll()
	if !p.Standing.Stands() || q.Standing.Stands() {
		t.Errorf("unchanged stands %v, changed %v stands %v; want true, false", p.Standing.Stands(), changed, q.Standing.Stands())
	}
}

func TestExpiryIsCheckedAtEveryRequest(t *testing.T) {
	r, c := newRecords(), newClock()
	_, tok := r.add(1, func(id *Identity) { id.Principal.Expires = c.now().Add(time.Hour) })
	a := New(Config{Identities: r, Now: c.now, LockOut: LockOut{Failures: 2}})
	c.advance(time.Hour - 1)
	if _, err := ask(a, tok, here); err != nil {
		t.Fatal(err)
	}
	c.advance(1)
	for range 5 { // the right secret is no guess: it is told what is wrong and does not lock itself out
		_, err := ask(a, tok, here)
		wantCode(t, err, kms.CodeExpired)
	}
	_, err := ask(a, text(idOf(1), 2), here)
	wantCode(t, err, kms.CodeUnauthenticated) // without the secret nothing is told
	if got := r.asked.Load(); got != 1 {
		t.Errorf("asked %d times, want once", got)
	}
}

// Credentials end by the server's time, whatever the machine's clock says; limits go by the clock that passes.
func TestCredentialsEndByTheServersTime(t *testing.T) {
	r, c, dates := newRecords(), newClock(), newClock()
	_, tok := r.add(1, func(id *Identity) { id.Principal.Expires = dates.now().Add(time.Hour) })
	a := New(Config{Identities: r, Now: c.now, Dates: dates.now})
	c.advance(1000 * time.Hour)
	if _, err := ask(a, tok, here); err != nil {
		t.Fatal(err)
	}
	dates.advance(time.Hour)
	_, err := ask(a, tok, here)
	wantCode(t, err, kms.CodeExpired)
}

func TestTheLocalSocketNamesItsPeer(t *testing.T) {
	r := newRecords()
	_, tok := r.add(1)
	a := New(Config{Identities: r, LocalUIDs: []uint32{0}})
	ctx := WithPeer(context.Background(), 0)
	p, err := a.Authenticate(ctx, nil, nil, netip.AddrPort{})
	if err != nil || p.Name != "uid:0" || p.Method != kms.AuthLocal || p.Namespace != kms.SystemNamespace || len(p.Roles) != 0 {
		t.Fatalf("got %+v %v", p, err)
	}
	if p, err = a.Authenticate(ctx, header(tok), nil, netip.AddrPort{}); err != nil || p.Name != "svc/1" {
		t.Errorf("a token given over the socket counts: got %+v %v", p, err)
	}
	_, err = a.Authenticate(ctx, header("kh_wrong"), nil, netip.AddrPort{})
	wantCode(t, err, kms.CodeUnauthenticated)
	_, err = a.Authenticate(WithPeer(context.Background(), 1000), nil, nil, netip.AddrPort{})
	wantCode(t, err, kms.CodeUnauthenticated)
}

func FuzzAuthenticate(f *testing.F) {
	r := newRecords()
	_, tok := r.add(1)
	a := New(Config{Identities: r, LockOut: LockOut{Failures: 1 << 30}, Failures: Rate{1e9, 1 << 30}})
	f.Add("Bearer " + tok)
	f.Add("Bearer " + tok[:28] + "b" + tok[29:])
	f.Add("bearer ")
	f.Add("Bearer kh_" + tok)
	f.Add("Basic Zm9v")
	f.Fuzz(func(t *testing.T, v string) {
		p, err := a.Authenticate(context.Background(), http.Header{"Authorization": {v}}, nil, here)
		if (p == nil) == (err == nil) {
			t.Fatalf("got %v and %v", p, err)
		}
		if p == nil {
			return
		}
		id, secret, ok := token.Parse(v[len(scheme):]) // base32 has spare bits: one id can have several spellings
		if !ok || id != idOf(1) || !bytes.Equal(secret, secretOf(1)) {
			t.Fatalf("%q was admitted", v)
		}
	})
}
