package faults

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
)

// TestKilledServersLoseNothingAcknowledged kills a server with SIGKILL under load, again and again on one directory, and holds what it has after each start
// against the journals of its clients.
func TestKilledServersLoseNothingAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // G115: not negative
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	j := &journal{t: t, records: make(map[string][]client.AuditRecord)}
	for i := range 4 {
		j.writers = append(j.writers, &writer{j: j, id: i, rng: rand.New(rand.NewPCG(seed, uint64(2+i))), keys: make(map[string]*modelKey)}) //nolint:gosec // G115: small
	}
	var anchors []string
	kills := sized(8, 200)
	var starting time.Duration
	for kill := range kills {
		began := time.Now()
		p := start(t, dir)
		starting += time.Since(began)
		c := p.client()
		j.server = p
		j.resolve(c)
		j.check(c, kill%10 == 9)
		anchors = append(anchors, keepCheckpoint(t, c, kill))
		j.round = kill + 1
		var wg sync.WaitGroup
		first := make(chan struct{}, len(j.writers))
		for _, w := range j.writers {
			wg.Go(func() { w.run(p.client(), first) })
		}
		<-first
		pause := time.NewTimer(time.Duration(rng.IntN(sized(400, 250))) * time.Millisecond)
		<-pause.C
		p.kill()
		wg.Wait()
		p.wholesome()
		if t.Failed() {
			t.Fatalf("kill %d:\n%s", kill, p.log)
		}
	}
	p := start(t, dir)
	c := p.client()
	j.server = p
	j.resolve(c)
	j.check(c, true)
	j.noChangeWithoutRecord(c)
	report, err := c.CheckStore(t.Context())
	if err != nil || report.DamagedCount != 0 {
		t.Errorf("store check: %+v, %v", report, err)
	}
	anchors = append(anchors, keepCheckpoint(t, c, kills))
	p.stop()
	p.wholesome()
	if out, err := verify(t.Context(), dir, anchors...); err != nil {
		t.Errorf("keyhold-verify: %v\n%s", err, out)
	}
	t.Logf("%d kills: %d operations acknowledged, %d of unknown outcome (%d of them had happened), %d keys, %d versions; %.2f s for a start and the look at it",
		kills, j.acked, j.unknown, j.happened, report.Keys, report.Versions, starting.Seconds()/float64(kills))
}

// keepCheckpoint keeps the newest checkpoint where the server cannot change it.
func keepCheckpoint(t *testing.T, c *client.Client, n int) string {
	t.Helper()
	at, err := c.GetCheckpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), fmt.Sprintf("anchor-%d", n))
	if err := os.WriteFile(path, at.Note, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// must collects a sequence.
func must[T any](t testing.TB, seq iter.Seq2[T, error]) []T {
	t.Helper()
	var all []T
	for v, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}
