package faults

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
)

// use is what the ledger tells uses of a key apart by.
type use struct {
	key     string
	version uint32
	alias   string
	action  string
	dialect string
	code    string
}

// tally is what it says of them.
type tally struct {
	count, bytes uint64
	first, last  time.Time
}

func (t tally) String() string {
	return fmt.Sprintf("%d of %d bytes from %s to %s", t.count, t.bytes, t.first.Format(time.RFC3339Nano), t.last.Format(time.RFC3339Nano))
}

// TestAKilledServersLedgerIsWhatItsLogAddsUpTo kills a server with SIGKILL while keys are used and the ledger is written, again and again on one directory, some of the
// time while the ledger is made anew, and adds up the audit records anew after each start: counts, bytes, first and last use are equal for each version, principal, action and outcome.
func TestAKilledServersLedgerIsWhatItsLogAddsUpTo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // G115: not negative
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	u := &users{t: t}
	kills := sized(6, 120)
	for kill := range kills {
		p := start(t, dir)
		if kill == 0 {
			u.begin(p.client())
		}
		u.compare(p.client())
		u.until(p, time.Duration(50+rng.IntN(sized(600, 400)))*time.Millisecond, func(i int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(kill*8+i+2))) }) //nolint:gosec // G115: small
		if t.Failed() {
			t.Fatalf("kill %d:\n%s", kill, p.log)
		}
	}
	p := start(t, dir)
	n := u.compare(p.client())
	p.stop()
	p.wholesome()
	t.Logf("%d kills: %d kinds of use of %d records", kills, n, u.records)
	if u.mixed == 0 || u.rebuilt == 0 {
		t.Errorf("%d records tell of several versions, and the ledger was made anew %d times: want some", u.mixed, u.rebuilt)
	}
}

// users are the clients that use two keys.
type users struct {
	t       *testing.T
	tokens  []string
	records int
	mixed   int // of them with items of several versions
	rebuilt int // times that the ledger was made anew
}

// begin makes the keys and the principals.
func (u *users) begin(c *client.Client) {
	u.t.Helper()
	for _, k := range []string{"a", "b"} {
		if _, err := c.CreateKey(u.t.Context(), client.CreateKeyInput{Name: k, Algorithm: "aes-256-gcm"}); err != nil {
			u.t.Fatal(err)
		}
	}
	for i := range 3 {
		token, err := c.CreateToken(u.t.Context(), client.CreateTokenInput{Principal: fmt.Sprintf("svc/%d", i), Roles: []string{[]string{"user", "user", "auditor"}[i]}})
		if err != nil {
			u.t.Fatal(err)
		}
		u.tokens = append(u.tokens, token.Secret)
	}
}

// until lets everybody work for a while and then kills the server.
func (u *users) until(p *process, d time.Duration, random func(int) *rand.Rand) {
	ctx, end := context.WithCancel(u.t.Context())
	defer end()
	var wg sync.WaitGroup
	for i, token := range u.tokens {
		c, rng := p.client(func(c *client.Config) { c.Token = token }), random(i)
		wg.Go(func() { work(ctx, c, rng) })
	}
	admin := p.client()
	wg.Go(func() { // the ledger is read, and so written, and versions come
		for i := 0; ctx.Err() == nil; i++ {
			_, _ = admin.ReadUsage(ctx, []string{"a", "b"}[i%2], 0)
			if i%5 == 0 {
				_, _ = admin.RotateKey(ctx, "a")
			}
			if i%11 == 1 { // what a kill leaves of the ledger may be anything
				_, _ = admin.RebuildUsage(ctx)
			}
		}
	})
	pause := time.NewTimer(d)
	<-pause.C
	p.kill()
	end()
	wg.Wait()
	p.wholesome()
}

// work uses the keys in every way until the server is gone: what comes of it is in the log.
func work(ctx context.Context, c *client.Client, rng *rand.Rand) {
	var made [][]byte
	for ctx.Err() == nil {
		text := make([]byte, rng.IntN(200))
		one, err := c.Encrypt(ctx, client.EncryptInput{Key: "a", Plaintext: text})
		if err == nil {
			made = append(made, one.Ciphertext)
		}
		pick := func() []byte {
			if len(made) == 0 || rng.IntN(9) == 0 {
				return []byte("no ciphertext")
			}
			c := slices.Clone(made[rng.IntN(len(made))])
			if rng.IntN(9) == 0 {
				c[len(c)-1] ^= 1
			}
			return c
		}
		switch rng.IntN(4) {
		case 0:
			_, _ = c.Decrypt(ctx, client.DecryptInput{Key: "a", Ciphertext: pick()})
		case 1:
			_, _ = c.ReEncrypt(ctx, client.ReEncryptInput{FromKey: "a", ToKey: "b", Ciphertext: pick()})
		case 2:
			var in []client.DecryptInput
			for range 2 + rng.IntN(20) {
				in = append(in, client.DecryptInput{Key: "a", Ciphertext: pick()})
			}
			_, _ = c.DecryptBatch(ctx, in)
		case 3:
			var in []client.ReEncryptInput
			for range 2 + rng.IntN(20) {
				in = append(in, client.ReEncryptInput{FromKey: "a", ToKey: "b", Ciphertext: pick()})
			}
			_, _ = c.ReEncryptBatch(ctx, in)
		}
	}
}

// compare holds the ledger against the log, and answers how many kinds of use there are.
func (u *users) compare(c *client.Client) int {
	u.t.Helper()
	got, want := map[use]tally{}, map[use]tally{}
	for _, k := range []string{"a", "b"} {
		all, err := c.ReadUsage(u.t.Context(), k, 0)
		if err != nil {
			u.t.Fatal(err)
		}
		for _, v := range all.Versions {
			for _, who := range v.Users {
				for _, o := range who.Operations {
					got[use{all.KeyID, v.Version, string(who.Alias), o.Action, o.Dialect, o.Code}] = tally{o.Count, o.Bytes, o.First, o.Last}
				}
			}
		}
	}
	u.records, u.mixed, u.rebuilt = 0, 0, 0
	for r, err := range c.ListRecords(u.t.Context(), client.AuditFilter{}) {
		if err != nil {
			u.t.Fatal(err)
		}
		u.addUp(&r, want)
	}
	for _, k := range slices.Collect(maps.Keys(want)) {
		if got[k] != want[k] {
			u.t.Errorf("%s of version %d of key %s %s: the ledger has %s, the log %s", k.action, k.version, k.key, k.code, got[k], want[k])
		}
		delete(got, k)
	}
	for k, n := range got {
		u.t.Errorf("%s of version %d of key %s %s: the ledger has %s, the log nothing", k.action, k.version, k.key, k.code, n)
	}
	return len(want)
}

// addUp is what docs/usage.md says of counting.
func (u *users) addUp(r *client.AuditRecord, to map[use]tally) {
	if r.Action == "RebuildUsage" && r.Outcome == "ok" {
		u.rebuilt++
	}
	if r.Outcome == "dry-run" || r.Outcome == "replayed" || len(r.Keys) == 0 {
		return
	}
	switch r.Action {
	case "Encrypt", "Decrypt", "ReEncrypt":
	default:
		return
	}
	u.records++
	if len(r.ItemVersions) > 0 {
		u.mixed++
	}
	items := r.Items
	if len(items) == 0 {
		items = []client.AuditItem{{Bytes: uint32(r.Bytes)}} //nolint:gosec // G115: small
	}
	var versions []uint32
	for _, run := range r.ItemVersions {
		versions = append(versions, slices.Repeat([]uint32{run.Version}, int(run.Items))...)
	}
	add := func(key string, version uint32, action string, i client.AuditItem) {
		code := i.Code
		if r.Code != "" {
			code = r.Code
		}
		k := use{key, version, string(r.PrincipalAlias), action, r.Dialect, code}
		n, met := to[k]
		if !met {
			n.first, n.last = r.Time, r.Time
		}
		n.count, n.bytes = n.count+1, n.bytes+uint64(i.Bytes)
		if r.Time.Before(n.first) {
			n.first = r.Time
		}
		if r.Time.After(n.last) {
			n.last = r.Time
		}
		to[k] = n
	}
	for i, it := range items {
		version, action := r.Keys[0].Version, r.Action
		if versions != nil {
			version = versions[i]
		}
		if r.Action == "ReEncrypt" {
			action = "ReEncryptFrom"
			if len(r.Keys) > 1 {
				add(r.Keys[1].KeyID, r.Keys[1].Version, "ReEncryptTo", it)
			}
		}
		add(r.Keys[0].KeyID, version, action, it)
	}
}
