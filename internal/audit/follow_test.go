package audit

import (
	"errors"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
)

// TestFollowGivesEveryRecordOnce reads over segments and boot epochs in pages of many sizes, and picks up what is written meanwhile.
func TestFollowGivesEveryRecordOnce(t *testing.T) {
	cfg := testConfig(t)
	k, _ := testKeys(t)
	write := func(l *Log, n int) {
		t.Helper()
		for range n {
			r := typical()
			if _, err := l.Append(&r); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 {
		l := opened(t, cfg, k)
		write(l, 200)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l := opened(t, cfg, k)
	defer l.Close() //nolint:errcheck // ends the test
	write(l, 50)
	for _, limit := range []int{1, 7, 100, MaxPage} {
		var got []Entry
		var after Position
		for {
			page, more, err := l.Follow(t.Context(), after, limit)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) > limit || more && len(page) == 0 {
				t.Fatalf("a page of %d, more %v", len(page), more)
			}
			got = append(got, page...)
			if len(page) > 0 {
				after = page[len(page)-1].Position
			}
			if !more {
				break
			}
		}
		if want := 2*201 + 51; len(got) != want {
			t.Fatalf("limit %d: got %d records want %d", limit, len(got), want)
		}
		for i := 1; i < len(got); i++ {
			p, q := got[i-1].Position, got[i].Position
			if q.Epoch == p.Epoch && q.Seq != p.Seq+1 || q.Epoch == p.Epoch+1 && q.Seq != 0 || q.Epoch > p.Epoch+1 {
				t.Fatalf("%v follows %v", q, p)
			}
		}
	}
	end := Position{l.cfg.Node, l.Epoch(), l.Size() - 1}
	if page, more, err := l.Follow(t.Context(), end, 10); len(page) != 0 || more || err != nil {
		t.Fatalf("at the end: got %d, %v, %v", len(page), more, err)
	}
	write(l, 3)
	if page, _, err := l.Follow(t.Context(), end, 10); len(page) != 3 || err != nil || page[0].Seq != end.Seq+1 {
		t.Fatalf("after three more: got %d, %v", len(page), err)
	}
	for _, p := range []Position{{"other", 1, 0}, {l.cfg.Node, l.Epoch() + 1, 0}, {l.cfg.Node, l.Epoch(), l.Size()}} {
		var refused *kms.Error
		if _, _, err := l.Follow(t.Context(), p, 1); !errors.As(err, &refused) || refused.Code != kms.CodeNotFound {
			t.Errorf("after %v: got %v want not found", p, err)
		}
	}
}
