package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider/soft"
	"github.com/keyhold/keyhold/internal/records"
)

// another is a second node: another engine on the same store, with a log of its own. One store in the process stands for one on the network: it orders the transactions of both. Both have one folder of epoch keys, and none of these tests lasts until an epoch ends: epochs are rolled by one
// node for itself as yet.
func (w *world) another() *world {
	w.t.Helper()
	n := &world{t: w.t, dir: w.t.TempDir(), store: w.store, shares: w.shares, now: w.now, output: &bytes.Buffer{}}
	var err error
	n.log, err = audit.Open(audit.Config{Dir: filepath.Join(n.dir, "audit"), Node: "n2", Cluster: w.config.Cluster.String(), SegmentBytes: 1 << 20,
		Head: func() (kms.Rev, [32]byte) {
			h, err := n.store.Confirm(context.Background())
			if err != nil {
				return 0, [32]byte{}
			}
			return h.Rev, h.Hash
		}})
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := soft.New(soft.Config{})
	if err != nil {
		w.t.Fatal(err)
	}
	n.config = w.config
	n.config.Log, n.config.Provider, n.config.Now, n.config.Logger = n.log, p, func() time.Time { return n.now }, slog.New(slog.NewTextHandler(n.output, nil))
	if n.e, err = engine.New(n.config); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(n.stop)
	n.unseal()
	return n
}

// together runs a round of the jobs on several nodes at once.
func together(t *testing.T, nodes ...*world) {
	t.Helper()
	var all sync.WaitGroup
	for _, n := range nodes {
		all.Go(func() { n.e.Upkeep(t.Context()) })
	}
	all.Wait()
}

func rotationsOn(nodes ...*world) (all []audit.Entry) {
	for _, n := range nodes {
		all = append(all, n.records(audit.Filter{Action: kms.RotateKey, Outcome: audit.OK, Name: "keyhold"})...)
	}
	return all
}

// What is due is done once, on however many nodes, and recorded where it was done.
func TestWhatIsDueIsDoneOnceByTwoNodes(t *testing.T) {
	const keys = 24
	one := newWorld(t)
	for i := range keys {
		name := fmt.Sprintf("k%d", i)
		one.create(name, kms.AES256GCM, 0)
		one.period(name, kms.Period{Every: 3600})
	}
	two := one.another()
	for hour := 1; hour <= 2; hour++ {
		one.now = one.now.Add(time.Hour + time.Second)
		two.now = one.now
		together(t, one, two)
		together(t, one, two)
		for i := range keys {
			if got := one.fresh(fmt.Sprintf("k%d", i)); got.Latest != uint32(hour+1) || got.Primary != uint32(hour+1) {
				t.Errorf("hour %d: key %s has version %d of %d", hour, got.Name, got.Primary, got.Latest)
			}
		}
		if got := len(rotationsOn(one, two)); got != keys*hour {
			t.Errorf("hour %d: %d rotations are recorded, want %d", hour, got, keys*hour)
		}
	}
	if missed, failing := one.e.Rotations(); missed != 0 || failing != 0 {
		t.Errorf("%d missed, %d failing", missed, failing)
	}
	// A node that stops leaves the rest to the other.
	one.now = one.now.Add(time.Hour + time.Second)
	two.now = one.now
	if _, err := one.e.Seal(t.Context(), operator()); err != nil {
		t.Fatal(err)
	}
	together(t, one, two)
	if t.Failed() || len(rotationsOn(one, two)) != keys*3 { // what the nodes say of it
		t.Logf("%s\n%s", one.output, two.output)
	}
	if got := len(rotationsOn(one, two)); got != keys*3 {
		t.Errorf("without the first node: %d rotations, want %d", got, keys*3)
	}
}

// fresh reads a key as it is in the store.
func (w *world) fresh(name string) kms.Key {
	w.t.Helper()
	out, err := w.e.ListKeys(w.t.Context(), user, engine.ListKeysInput{Filter: engine.KeyFilter{NamePrefix: name}, Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range out.Keys {
		if out.Keys[i].Name == name {
			return out.Keys[i]
		}
	}
	w.t.Fatalf("there is no key %s", name)
	return kms.Key{}
}

// Long work is one node's. When that dies in the middle its lease runs out, the other goes on with what is left, and what the first one writes afterwards is refused.
func TestTheOtherNodeGoesOnWhenOneDiesInTheMiddle(t *testing.T) {
	const parts = 6
	one := newWorld(t)
	two := one.another()
	var mu sync.Mutex // guards done
	done := map[int]string{}
	half, dead, woken := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	// The work: parts, each a row that the store has once; the first node stops in the middle, and wakes up when it is thought to be dead.
	work := func(node string) func(context.Context, *engine.Task) error {
		return func(ctx context.Context, k *engine.Task) error {
			for i := range parts {
				if node == "one" && i == parts/2 {
					close(half)
					<-dead
				}
				err := k.Part(ctx, records.Due{Key: kms.ID{9, byte(i)}, At: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC), What: records.DueApproval}, func() {
					mu.Lock()
					defer mu.Unlock()
					if was, twice := done[i]; twice {
						t.Errorf("part %d was done by node %s and by node %s", i, was, node)
					}
					done[i] = node
				})
				if err != nil {
					woken <- err
					return err
				}
			}
			return k.Finish(ctx)
		}
	}
	one.e.OnDue(records.DueImport, false, true, work("one"))
	two.e.OnDue(records.DueImport, false, true, work("two"))
	one.dueAt(1, 0)
	one.e.Upkeep(t.Context())
	<-half
	two.e.Upkeep(t.Context()) // the lease is the first one's
	two.e.Settle()
	if len(done) != parts/2 {
		t.Fatalf("while the first node works: %v", done)
	}
	two.now = two.now.Add(31 * time.Second)
	two.e.Upkeep(t.Context())
	two.e.Settle()
	mu.Lock()
	if got := fmt.Sprint(done); got != "map[0:one 1:one 2:one 3:two 4:two 5:two]" {
		t.Errorf("done by: %s", got)
	}
	mu.Unlock()
	close(dead)
	if err := <-woken; err == nil {
		t.Error("who lost the lease went on")
	}
	one.e.Settle()
	if jobs := two.dueJobs(); len(jobs) != parts {
		t.Errorf("what was due is still: %+v", jobs)
	}
	if len(done) != parts {
		t.Errorf("done: %v", done)
	}
}

// A campaign under way on a node that stops is gone on with by the other: each data key is brought over once, and the other opens all of them.
func TestACampaignGoesOnOnTheOtherNode(t *testing.T) {
	const keys = 120 // more than two pages
	one := newWorld(t)
	one.create("kek", kms.AES256GCM, 0)
	plain := map[string][]byte{}
	for i := range keys {
		name := fmt.Sprintf("d%d", i)
		_, plain[name] = one.register("kek", name)
	}
	two := one.another()
	one.rotate("kek")
	var all sync.WaitGroup
	all.Go(func() { one.e.Upkeep(t.Context()) })
	all.Go(func() { two.e.Upkeep(t.Context()) })
	if _, err := one.e.Seal(t.Context(), operator()); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	for range 3 { // what was held back because the other node came between
		two.now = two.now.Add(time.Minute)
		two.e.Upkeep(t.Context())
	}
	if c := two.campaign("kek"); c.State != "done" || c.Left != 0 || c.Target != 2 {
		t.Errorf("got %+v", c)
	}
	for name, want := range plain {
		if d, got := two.openDataKey("kek", name); d.Version != 2 || d.Wraps != 1 || !bytes.Equal(got, want) {
			t.Errorf("%s is under version %d, re-wrapped %d times, right %v", name, d.Version, d.Wraps, bytes.Equal(got, want))
		}
	}
	one.unseal()
	items := 0
	for _, n := range []*world{one, two} {
		for _, r := range n.rewrapRecords() {
			items += len(r.Record.Items)
		}
	}
	if items != keys {
		t.Errorf("%d data keys are recorded as brought over, want %d", items, keys)
	}
}
