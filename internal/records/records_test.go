package records_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/seal/sealtest"
	"github.com/keyhold/keyhold/internal/store"
	"github.com/keyhold/keyhold/internal/store/mem"
)

func open(t *testing.T) (*records.Records, store.Store, *sealtest.Fixture) {
	t.Helper()
	f := sealtest.New(t)
	st := mem.Open(mem.Config{})
	t.Cleanup(func() { _ = st.Close() })
	return records.New(st, f.Keychain, f.Cluster), st, f
}

func token(i int) records.Token {
	return records.Token{ID: kms.NewID(time.UnixMilli(int64(1000+i)), [10]byte{byte(i)}), Principal: fmt.Sprintf("p%d", i), Namespace: "default"}
}

func TestAReadIsACondition(t *testing.T) {
	r, _, _ := open(t)
	tok := token(1)
	runs := 0
	_, _, err := r.Update(t.Context(), func(tx *records.Tx) error {
		runs++
		_, there, err := tx.Token(tok.ID)
		if err != nil {
			return err
		}
		if runs == 1 { // another change comes between reading and committing
			if _, _, err := r.Update(t.Context(), func(tx *records.Tx) error { return tx.PutToken(tok) }); err != nil {
				return err
			}
		}
		if there != (runs == 2) {
			return fmt.Errorf("run %d: there is %v", runs, there)
		}
		changed := tok
		changed.By = "second"
		return tx.PutToken(changed)
	})
	if err != nil || runs != 2 {
		t.Fatalf("%d runs, %v", runs, err)
	}
	if got, err := r.Token(t.Context(), tok.ID); err != nil || got.By != "second" {
		t.Fatalf("got %+v %v", got, err)
	}
}

func TestATransactionReadsItsOwnWrites(t *testing.T) {
	r, st, _ := open(t)
	boom := errors.New("refused")
	_, _, err := r.Update(t.Context(), func(tx *records.Tx) error {
		if _, err := tx.ClaimName("default", records.Name{Key: kms.ID{1}, Name: "n"}); err != nil {
			return err
		}
		if n, there, err := tx.Name("default", "n"); err != nil || !there || n.Key != (kms.ID{1}) {
			return fmt.Errorf("own write: %+v %v %v", n, there, err)
		}
		if err := tx.RemoveName("default", "n"); err != nil {
			return err
		}
		if _, there, err := tx.Name("default", "n"); err != nil || there {
			return fmt.Errorf("own removal: %v %v", there, err)
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if head, err := st.Confirm(t.Context()); err != nil || head.Rev != 0 {
		t.Fatalf("a refused transaction moved the store to %d (%v)", head.Rev, err)
	}
}

func TestTouchedNamesWhatToForget(t *testing.T) {
	r, _, _ := open(t)
	rev, touched, err := r.Update(t.Context(), func(tx *records.Tx) error {
		if err := tx.PutKey(records.Key{Key: kms.Key{ID: kms.ID{2}, Namespace: "a"}}); err != nil {
			return err
		}
		return tx.PutVersion(records.Version{Version: kms.Version{Key: kms.ID{2}, Number: 7}})
	})
	if err != nil || rev == 0 || len(touched) != 2 {
		t.Fatalf("%d %+v %v", rev, touched, err)
	}
	if touched[0] != (records.Touch{Kind: records.TouchKey, Namespace: "a", ID: kms.ID{2}}) ||
		touched[1] != (records.Touch{Kind: records.TouchVersion, ID: kms.ID{2}, Version: 7}) {
		t.Fatalf("touched %+v", touched)
	}
}

// Every record in the store is sealed, and none of it can stand in another place: swap all values pairwise.
func TestNoRecordOpensInAnothersPlace(t *testing.T) {
	r, st, _ := open(t)
	_, _, err := r.Update(t.Context(), func(tx *records.Tx) error {
		for i := range 4 {
			if err := tx.PutToken(token(i)); err != nil {
				return err
			}
			if err := tx.PutNamespace(records.Namespace{Name: kms.Namespace(fmt.Sprintf("n%d", i))}); err != nil {
				return err
			}
			if err := tx.PutVersion(records.Version{Version: kms.Version{Key: kms.ID{9}, Number: uint32(i + 1)}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	all, _, err := st.Scan(t.Context(), nil, nil, 100)
	if err != nil || len(all) != 12 {
		t.Fatalf("%d records, %v", len(all), err)
	}
	count := func() (damaged int) {
		if err := r.Walk(t.Context(), func(_ string, err error) {
			if err != nil {
				if kms.CodeOf(err) != kms.CodeRecordDamaged {
					t.Error(err)
				}
				damaged++
			}
		}); err != nil {
			t.Fatal(err)
		}
		return damaged
	}
	if n := count(); n != 0 {
		t.Fatalf("%d records do not open", n)
	}
	for i, a := range all {
		for j, b := range all {
			if i == j {
				continue
			}
			put(t, st, a.Key, b.Value)
			if n := count(); n != 1 {
				t.Fatalf("%q in the place of %q: %d records are damaged, want 1", b.Key, a.Key, n)
			}
			put(t, st, a.Key, a.Value)
		}
	}
}

func put(t *testing.T, st store.Store, key, value []byte) {
	t.Helper()
	if _, err := st.Commit(t.Context(), store.Txn{Then: []store.Write{{Key: key, Value: value}}}); err != nil {
		t.Fatal(err)
	}
}

func TestPathsShowNoNames(t *testing.T) {
	r, st, _ := open(t)
	const secretName = "merger-with-acme"
	_, _, err := r.Update(t.Context(), func(tx *records.Tx) error {
		if _, err := tx.ClaimName("default", records.Name{Key: kms.ID{1}, Name: secretName}); err != nil {
			return err
		}
		return tx.PutCredential(records.Credential{Subject: "spiffe://" + secretName, Namespace: "default"})
	})
	if err != nil {
		t.Fatal(err)
	}
	all, _, err := st.Scan(t.Context(), nil, nil, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range all {
		for _, b := range [][]byte{rec.Key, rec.Value} {
			if len(b) > 0 && contains(b, secretName) {
				t.Fatalf("the store shows the name at %q", rec.Key)
			}
		}
	}
}

func contains(b []byte, s string) bool {
	for i := 0; i+len(s) <= len(b); i++ {
		if string(b[i:i+len(s)]) == s {
			return true
		}
	}
	return false
}

func TestDueKeysComeInOrder(t *testing.T) {
	r, _, _ := open(t)
	base := time.Unix(1_700_000_000, 0).UTC()
	_, _, err := r.Update(t.Context(), func(tx *records.Tx) error {
		for _, h := range []int{5, 1, 3} {
			if err := tx.PutDue(records.Due{Namespace: "default", Key: kms.ID{byte(h)}, At: base.Add(time.Duration(h) * time.Hour)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := r.DueBy(t.Context(), base.Add(3*time.Hour), nil, 10)
	due := page.Rows
	if err != nil || page.Next != nil || len(due) != 2 || due[0].Key != (kms.ID{1}) || due[1].Key != (kms.ID{3}) {
		t.Fatalf("due: %+v %v", due, err)
	}
}

func TestConcurrentUpdatesOfOneRecordAllCount(t *testing.T) {
	r, _, _ := open(t)
	const writers, each = 4, 20
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				for {
					_, _, err := r.Update(context.Background(), func(tx *records.Tx) error {
						j, _, err := tx.Job("count")
						if err != nil {
							return err
						}
						j.Name = "count"
						j.Done++
						return tx.PutJob(j)
					})
					if err == nil {
						break
					}
					if kms.CodeOf(err) != kms.CodeConflict {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if j, _, err := r.Job(t.Context(), "count"); err != nil || j.Done != writers*each {
		t.Fatalf("counted %d, want %d (%v)", j.Done, writers*each, err)
	}
}

// TestATakenNameIsFoundAtTheLatestByTheStore: a claim is not read first, unless the transaction is to look; either way one of many wins.
func TestATakenNameIsFoundAtTheLatestByTheStore(t *testing.T) {
	r, _, _ := open(t)
	var won, lost, runs atomic.Int64
	var wg sync.WaitGroup
	claim := func(i int, look bool) (taken bool) {
		_, _, err := r.Update(t.Context(), func(tx *records.Tx) (err error) {
			runs.Add(1)
			if look {
				tx.Look()
			}
			if taken, err = tx.ClaimName("default", records.Name{Key: kms.ID{byte(i)}, Name: "one"}); taken {
				return errors.New("taken")
			}
			return err
		})
		if (err != nil) != taken {
			t.Errorf("claim %d: taken %v, %v", i, taken, err)
		}
		return taken
	}
	for i := range 8 {
		wg.Go(func() {
			if claim(i+1, false) {
				lost.Add(1)
			} else {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 7 {
		t.Errorf("%d won and %d lost, want 1 and 7", won.Load(), lost.Load())
	}
	for _, c := range []struct {
		look bool
		want int64
	}{{false, 2}, {true, 1}} {
		runs.Store(0)
		if !claim(9, c.look) || runs.Load() != c.want {
			t.Errorf("look %v: %d runs, want %d", c.look, runs.Load(), c.want)
		}
	}
	_, _, err := r.Update(t.Context(), func(tx *records.Tx) error {
		if taken, err := tx.ClaimName("default", records.Name{Name: "two"}); taken || err != nil {
			return fmt.Errorf("a new name: taken %v, %w", taken, err)
		}
		if taken, err := tx.ClaimName("default", records.Name{Name: "two"}); !taken || err != nil {
			return fmt.Errorf("the same name again: taken %v, %w", taken, err)
		}
		if err := tx.RemoveName("default", "one"); err != nil {
			return err
		}
		if taken, err := tx.ClaimName("default", records.Name{Name: "one"}); taken || err != nil {
			return fmt.Errorf("a name that was freed: taken %v, %w", taken, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
