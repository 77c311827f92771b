package faults

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
)

// TestAKilledCampaignLosesNothing kills a server with SIGKILL while campaigns run, again and again on one directory, with a rotation each time. In the
// end no data key is under an older version, each opens to what it was, and none was re-wrapped more often than there were versions to come under:
// the items in the audit trail are as many as the data keys say.
func TestAKilledCampaignLosesNothing(t *testing.T) { // LIF-6
	t.Parallel()
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // G115: not negative
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 7))
	kills, n := sized(4, 100), sized(300, 3000)
	p := start(t, dir)
	c := p.client()
	if _, err := c.CreateKey(t.Context(), client.CreateKeyInput{Name: "kek", Algorithm: "aes-256-gcm"}); err != nil {
		t.Fatal(err)
	}
	plain := makeDataKeys(t, c, n)
	interrupted := 0
	for range kills {
		k, err := c.RotateKey(t.Context(), "kek")
		if err != nil {
			t.Fatal(err)
		}
		// The rotation is answered; the campaign begins within a second. One kill in four comes at any time, the others while it works.
		wait := 1500
		if rng.IntN(4) > 0 {
			begun(t, c, k.PrimaryVersion)
			wait = max(n/8, 50) // of what it takes
		}
		pause := time.NewTimer(time.Duration(rng.IntN(wait)) * time.Millisecond)
		<-pause.C
		p.kill()
		p.wholesome()
		p = start(t, dir)
		c = p.client()
		if now, err := c.ReadCampaign(t.Context(), "kek"); err == nil && now.State == "running" && now.TargetVersion == k.PrimaryVersion && now.Done > 0 && now.Done < now.Total {
			interrupted++
		}
	}
	k, err := c.RotateKey(t.Context(), "kek")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if err := finished(ctx, c, k.PrimaryVersion); err != nil {
		t.Fatalf("the last campaign: %v\n%s", err, p.log)
	}

	counts, err := c.CountDataKeys(t.Context(), "kek")
	if err != nil || len(counts.Versions) != 1 || counts.Versions[0].Version != k.PrimaryVersion || counts.Versions[0].Held != uint64(n) { //nolint:gosec // G115: not negative
		t.Errorf("counted %+v, %v; want %d under version %d alone", counts, err, n, k.PrimaryVersion)
	}
	wraps := 0
	for _, d := range must(t, c.ListDataKeys(t.Context(), client.DataKeyFilter{Key: "kek"})) {
		wraps += int(d.Rewraps)
		if d.Version != k.PrimaryVersion || d.Rewraps < 1 || d.Rewraps > k.PrimaryVersion-1 {
			t.Errorf("data key %s is under version %d and was re-wrapped %d times, want version %d and at most once for each", d.ID, d.Version, d.Rewraps, k.PrimaryVersion)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(plain)) {
		d, err := c.OpenDataKey(t.Context(), "kek", id)
		if err != nil || !bytes.Equal(d.Plaintext, plain[id]) {
			t.Fatalf("data key %s does not open to what it was: %v", id, err)
		}
	}
	items, pages := 0, map[string]bool{}
	for _, r := range must(t, c.ListRecords(t.Context(), client.AuditFilter{Action: "RewrapDataKeys"})) {
		if r.Outcome != "ok" || len(r.Items) == 0 {
			continue
		}
		items += len(r.Items)
		name, _, _ := strings.Cut(r.Detail, ":") // campaign and page
		if pages[name] {
			t.Errorf("the trail has %s twice", name)
		}
		pages[name] = true
	}
	if items != wraps {
		t.Errorf("the trail has %d re-wraps, the data keys %d", items, wraps)
	}
	p.stop()
	p.wholesome()
	if out, err := verify(t.Context(), dir); err != nil {
		t.Errorf("keyhold-verify: %v\n%s", err, out)
	}
	t.Logf("%d kills, %d of them in the middle of a campaign: %d data keys re-wrapped %d times in %d pages", kills, interrupted, n, wraps, len(pages))
}

// begun waits until a campaign aims at a version, or is over.
func begun(t *testing.T, c *client.Client, version uint32) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(ready); ; <-tick.C {
		if now, err := c.ReadCampaign(t.Context(), "kek"); err == nil && now.TargetVersion == version {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no campaign begins for version %d", version)
		}
	}
}

// makeDataKeys registers n data keys and answers what they are.
func makeDataKeys(t *testing.T, c *client.Client, n int) map[string][]byte {
	t.Helper()
	var mu sync.Mutex
	plain := map[string][]byte{}
	var wg sync.WaitGroup
	const clients = 8
	for i := range clients {
		wg.Go(func() {
			for range (n + clients - 1 - i) / clients {
				d, err := c.RegisterDataKey(t.Context(), client.RegisterDataKeyInput{Key: "kek", WithPlaintext: true, Context: client.Context{"of": fmt.Sprint(i)}})
				if err != nil {
					t.Errorf("register: %v", err)
					return
				}
				mu.Lock()
				plain[d.ID] = d.Plaintext
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(plain) != n {
		t.Fatalf("made %d data keys, want %d", len(plain), n)
	}
	return plain
}

// finished waits until a campaign has brought everything under a version.
func finished(ctx context.Context, c *client.Client, version uint32) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := c.ReadCampaign(ctx, "kek")
		if err == nil && now.State == "done" && now.TargetVersion == version && now.Left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%+v, %v: %w", now, err, ctx.Err())
		case <-tick.C:
		}
	}
}
