package records_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/store"
)

var dueBase = time.Unix(1_700_000_000, 0).UTC()

func putDue(t *testing.T, r *records.Records, rows ...records.Due) {
	t.Helper()
	for _, d := range rows {
		if _, _, err := r.Update(t.Context(), func(tx *records.Tx) error { return tx.PutDue(d) }); err != nil {
			t.Fatal(err)
		}
	}
}

func TestADamagedRowHoldsUpNoOther(t *testing.T) {
	r, st, _ := open(t)
	putDue(t, r, records.Due{Key: kms.ID{1}, At: dueBase}, records.Due{Key: kms.ID{2}, At: dueBase}, records.Due{Key: kms.ID{3}, At: dueBase})
	recs, _, err := st.Scan(t.Context(), []byte("D"), nil, 10)
	if err != nil || len(recs) != 3 {
		t.Fatalf("%d rows, %v", len(recs), err)
	}
	bad := append([]byte(nil), recs[1].Value...)
	bad[len(bad)/2] ^= 1
	if _, err := st.Commit(t.Context(), store.Txn{Then: []store.Write{{Key: recs[1].Key, Value: bad}}}); err != nil {
		t.Fatal(err)
	}
	page, err := r.DueBy(t.Context(), dueBase, nil, 10)
	if err != nil || len(page.Rows) != 2 || len(page.Damaged) != 1 || page.Damaged[0] != records.Place(recs[1].Key) {
		t.Fatalf("got %+v %v", page, err)
	}
}

func TestDueRowsComeInPages(t *testing.T) {
	r, _, _ := open(t)
	for i := range 7 {
		putDue(t, r, records.Due{Key: kms.ID{byte(i + 1)}, At: dueBase.Add(time.Duration(i) * time.Second), What: records.DueRotate})
	}
	var got []byte
	var after []byte
	for {
		page, err := r.DueBy(t.Context(), dueBase.Add(4*time.Second), after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page.Rows {
			got = append(got, d.Key[0])
		}
		if after = page.Next; after == nil {
			break
		}
	}
	if string(got) != "\x01\x02\x03\x04\x05" {
		t.Errorf("got %v, want what is due within four seconds, each once", got)
	}
}

func TestARowIsTakenOnce(t *testing.T) {
	r, _, _ := open(t)
	d := records.Due{Key: kms.ID{1}, At: dueBase, What: records.DueRotate}
	putDue(t, r, d)
	errGone := errors.New("gone")
	var all sync.WaitGroup
	won := make(chan int, 8)
	for i := range 8 {
		all.Go(func() {
			_, _, err := r.Update(t.Context(), func(tx *records.Tx) error {
				there, err := tx.TakeDue(d)
				if err == nil && !there {
					err = errGone
				}
				return err
			})
			switch {
			case err == nil:
				won <- i
			case !errors.Is(err, errGone):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(won) != 1 {
		t.Errorf("%d took the row, want 1", len(won))
	}
}

func TestWhatIsPutAheadKeepsItsHistoryAndReplacesNothing(t *testing.T) {
	r, _, _ := open(t)
	old := records.Due{Namespace: "default", Key: kms.ID{1}, At: dueBase, What: records.DueRotate}
	other := records.Due{Namespace: "default", Key: kms.ID{1}, At: dueBase.Add(time.Minute), What: records.DueRotate} // a newer wish
	putDue(t, r, old, other)
	move := func(d records.Due, to time.Time) {
		t.Helper()
		if _, _, err := r.Update(t.Context(), func(tx *records.Tx) error { return tx.MoveDue(d, to, "why") }); err != nil {
			t.Fatal(err)
		}
	}
	move(old, other.At)
	move(old, other.At) // it is not there any more: nothing happens
	page, err := r.DueBy(t.Context(), dueBase.Add(time.Hour), nil, 10)
	if err != nil || len(page.Rows) != 2 {
		t.Fatalf("got %+v %v", page, err)
	}
	if d := page.Rows[0]; d.Attempts != 0 || !d.At.Equal(other.At) || !d.Date().Equal(other.At) {
		t.Errorf("the row that was there: %+v", d)
	}
	d := page.Rows[1]
	if d.Attempts != 1 || d.Error != "why" || !d.At.Equal(other.At.Add(time.Second)) || !d.Date().Equal(dueBase) {
		t.Errorf("the row that was put ahead: %+v", d)
	}
	move(d, dueBase.Add(2*time.Hour))
	if page, err = r.DueBy(t.Context(), dueBase.Add(3*time.Hour), nil, 10); err != nil || len(page.Rows) != 2 || page.Rows[1].Attempts != 2 || !page.Rows[1].Date().Equal(dueBase) {
		t.Errorf("put ahead twice: %+v %v", page, err)
	}
}
