package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// dueAt notes that a thing is due a while from now.
func (w *world) dueAt(n byte, in time.Duration) records.Due {
	w.t.Helper()
	d := records.Due{Namespace: kms.DefaultNamespace, Key: kms.ID{n}, At: w.now.Add(in), What: records.DueImport}
	if err := w.e.PutDue(w.t.Context(), d); err != nil {
		w.t.Fatal(err)
	}
	return d
}

// dueJobs answers what `keyhold jobs` shows of what is due.
func (w *world) dueJobs() []engine.JobInfo {
	w.t.Helper()
	out, err := w.e.Jobs(w.t.Context(), operator(), engine.JobsInput{Due: 100})
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.DeleteFunc(out.Jobs, func(j engine.JobInfo) bool { return j.Key.IsZero() })
}

func TestWhatFailsHoldsUpNothingElse(t *testing.T) {
	w := newWorld(t)
	done := map[byte]int{}
	var mu sync.Mutex // guards done
	broken := true
	do := func(ctx context.Context, k *engine.Task) error {
		if k.Key[0] == 1 && broken {
			return kms.Errorf(kms.CodeSelfTest, "it does not open")
		}
		if k.Key[0] == 2 && broken {
			panic("a mistake of ours")
		}
		if err := k.Finish(ctx); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		done[k.Key[0]]++
		return nil
	}
	w.e.OnDue(records.DueImport, false, false, do)
	due := w.dueAt(1, time.Second)
	w.dueAt(2, time.Second)
	w.dueAt(3, 2*time.Second)
	w.dueAt(4, time.Hour+time.Minute)
	w.e.Upkeep(t.Context())
	if len(done) != 0 {
		t.Fatalf("done before it was due: %v", done)
	}
	w.now = w.now.Add(3 * time.Second)
	w.e.Upkeep(t.Context())
	if fmt.Sprint(done) != "map[3:1]" {
		t.Fatalf("done: %v, want the one that works", done)
	}
	jobs := w.dueJobs()
	if len(jobs) != 3 || jobs[0].State != "failed" || jobs[0].Key[0] != 1 || jobs[0].Attempts != 1 || !jobs[0].Due.Equal(due.At) ||
		!jobs[0].NextRun.Equal(w.now.Add(10*time.Second)) || !strings.Contains(jobs[0].LastNote, "it does not open") || jobs[1].State != "failed" || jobs[2].State != "due" {
		t.Fatalf("shown: %+v", jobs)
	}
	// It is not tried all the time, and what is known of it outlives the process.
	w.e.Upkeep(t.Context())
	if n := strings.Count(w.output.String(), "due_work_failed"); n != 2 {
		t.Errorf("tried %d times at once, want 2 rows once each", n)
	}
	w.restart()
	w.e.OnDue(records.DueImport, false, false, do)
	w.now = w.now.Add(11 * time.Second)
	w.e.Upkeep(t.Context())
	if jobs = w.dueJobs(); jobs[0].Attempts != 2 || !jobs[0].Due.Equal(due.At) || !jobs[0].NextRun.Equal(w.now.Add(20*time.Second)) {
		t.Fatalf("after the second attempt: %+v", jobs[0])
	}
	broken = false
	w.now = w.now.Add(time.Minute)
	w.e.Upkeep(t.Context())
	w.e.Upkeep(t.Context())
	if fmt.Sprint(done) != "map[1:1 2:1 3:1]" {
		t.Fatalf("done: %v, want each once", done)
	}
	if jobs = w.dueJobs(); len(jobs) != 1 || jobs[0].Attempts != 0 {
		t.Fatalf("left: %+v", jobs)
	}
}

func TestWhatCanBeUndoneGoesOnWhileTheClockIsNotBelieved(t *testing.T) {
	var passed time.Duration
	w := newWorld(t, setClock(&passed))
	var finals, others atomic.Int32
	count := func(n *atomic.Int32) func(context.Context, *engine.Task) error {
		return func(ctx context.Context, k *engine.Task) error {
			n.Add(1)
			return k.Finish(ctx)
		}
	}
	w.e.OnDue(records.DueImport, true, false, count(&finals))
	w.e.OnDue(records.DueApproval, false, false, count(&others))
	w.dueAt(1, time.Minute)
	if err := w.e.PutDue(t.Context(), records.Due{Key: kms.ID{2}, At: w.now.Add(time.Minute), What: records.DueApproval}); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(8 * day) // a jump: the line goes on as before
	passed += 2 * time.Minute
	w.e.Upkeep(t.Context())
	if finals.Load() != 0 || others.Load() != 1 {
		t.Fatalf("%d that cannot be undone and %d others, want 0 and 1", finals.Load(), others.Load())
	}
	if _, err := w.e.ConfirmClock(t.Context(), operator(), engine.ConfirmClockInput{Time: w.now}); err != nil {
		t.Fatal(err)
	}
	w.e.Upkeep(t.Context())
	if finals.Load() != 1 || others.Load() != 1 {
		t.Fatalf("confirmed: %d and %d, want 1 and 1", finals.Load(), others.Load())
	}
}

func TestThousandsOfBlockedRowsStarveNothing(t *testing.T) {
	w := newWorld(t)
	for i := range 1500 { // of a newer version of the program: nobody does them
		d := records.Due{Key: kms.ID{9, byte(i >> 8), byte(i)}, At: w.now, What: records.DueExpire}
		if err := w.e.PutDue(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	ran := 0
	w.e.OnDue(records.DueImport, false, false, func(ctx context.Context, k *engine.Task) error {
		ran++
		return k.Finish(ctx)
	})
	w.dueAt(1, time.Second)
	w.now = w.now.Add(2 * time.Second)
	for range 3 {
		w.e.Upkeep(t.Context())
	}
	if ran != 1 {
		t.Fatalf("what came after rows that cannot be done ran %d times, want 1", ran)
	}
}

func TestLongWorkIsSeenAndHoldsUpNothing(t *testing.T) {
	w := newWorld(t)
	began, end := make(chan struct{}), make(chan struct{})
	w.e.OnDue(records.DueImport, false, true, func(ctx context.Context, k *engine.Task) error {
		k.Progress(3, 7)
		close(began)
		<-end
		return k.Finish(ctx)
	})
	quick := make(chan struct{})
	w.e.OnDue(records.DueApproval, false, false, func(ctx context.Context, k *engine.Task) error {
		defer close(quick)
		return k.Finish(ctx)
	})
	w.dueAt(1, 0)
	if err := w.e.PutDue(t.Context(), records.Due{Key: kms.ID{2}, At: w.now, What: records.DueApproval}); err != nil {
		t.Fatal(err)
	}
	w.e.Upkeep(t.Context())
	<-began
	<-quick
	w.e.Upkeep(t.Context()) // does not begin it again: began would be closed twice
	if jobs := w.dueJobs(); len(jobs) != 1 || jobs[0].State != "running" || jobs[0].Done != 3 || jobs[0].Total != 7 {
		t.Fatalf("shown: %+v", jobs)
	}
	close(end)
	w.e.Settle()
	if jobs := w.dueJobs(); len(jobs) != 0 {
		t.Fatalf("left: %+v", jobs)
	}
}

func TestALeaseKeepsOthersOutAndIsFenced(t *testing.T) {
	w := newWorld(t)
	first, err := w.e.TakeLease(t.Context(), "work")
	if err != nil || first == nil {
		t.Fatalf("got %v %v", first, err)
	}
	if second, err := w.e.TakeLease(t.Context(), "work"); err != nil || second != nil {
		t.Fatalf("taken twice: %v %v", second, err)
	}
	row := records.Due{Key: kms.ID{1}, At: w.now.Add(day)}
	if err := first.Write(row); err != nil {
		t.Fatal(err)
	}
	// The first holder is slow, or cut off: its time ends, and what it writes afterwards is refused.
	w.now = w.now.Add(31 * time.Second)
	second, err := w.e.TakeLease(t.Context(), "work")
	if err != nil || second == nil {
		t.Fatalf("got %v %v", second, err)
	}
	if err := first.Write(row); !errors.Is(err, engine.ErrLeaseLost) {
		t.Fatalf("who lost the lease wrote: %v", err)
	}
	first.GiveBack() // which takes nothing from the second
	if err := second.Write(row); err != nil {
		t.Fatal(err)
	}
	second.GiveBack()
	third, err := w.e.TakeLease(t.Context(), "work")
	if err != nil || third == nil {
		t.Fatalf("given back, and not free: %v %v", third, err)
	}
	third.GiveBack()
}
