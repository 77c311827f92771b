package records

import (
	"errors"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/seal/sealtest"
	"github.com/keyhold/keyhold/internal/store/mem"
)

func open(t *testing.T) *Records {
	t.Helper()
	f := sealtest.New(t)
	st := mem.Open(mem.Config{})
	t.Cleanup(func() { _ = st.Close() })
	return New(st, f.Keychain, f.Cluster)
}

func update(t *testing.T, r *Records, fn func(*Tx) error) {
	t.Helper()
	if _, _, err := r.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// TestDataKeysAreCountedUnderTheirVersion: each version and each holding apart, through pages, re-wraps and revocation.
func TestDataKeysAreCountedUnderTheirVersion(t *testing.T) {
	r := open(t)
	parent, other := kms.ID{1}, kms.ID{2}
	const n = 1203 // more than two pages
	id := func(i int) kms.ID { return kms.ID{9, byte(i >> 8), byte(i)} }
	for from := 0; from < n; from += 100 {
		update(t, r, func(tx *Tx) error {
			var err error
			for i := from; i < min(from+100, n); i++ {
				err = errors.Join(err, tx.InsertDataKey(DataKey{Parent: parent, ID: id(i), State: DataKeyActive, Version: 1, Wrapped: []byte{1}}))
			}
			return err
		})
	}
	update(t, r, func(tx *Tx) error {
		return errors.Join(
			tx.InsertDataKey(DataKey{Parent: parent, ID: kms.ID{8}, State: DataKeyActive, Version: 1, Fingerprint: [32]byte{1}}),
			tx.InsertDataKey(DataKey{Parent: parent, ID: kms.ID{7}, State: DataKeyActive, Version: 258, Wrapped: []byte{1}}),
			tx.InsertDataKey(DataKey{Parent: other, ID: kms.ID{6}, State: DataKeyActive, Version: 1, Wrapped: []byte{1}}))
	})
	want := func(parent kms.ID, version uint32, atMost int, want DataKeyCount) {
		t.Helper()
		if got, err := r.CountDataKeys(t.Context(), parent, version, atMost); err != nil || got != want {
			t.Errorf("under version %d: got %+v, %v want %+v", version, got, err, want)
		}
	}
	want(parent, 1, 5000, DataKeyCount{Held: n, Outside: 1})
	want(parent, 1, 1000, DataKeyCount{Held: 1000, Outside: 1})
	want(parent, 1, 7, DataKeyCount{Held: 7, Outside: 1})
	want(parent, 2, 5000, DataKeyCount{})
	want(parent, 258, 5000, DataKeyCount{Held: 1})
	want(other, 1, 5000, DataKeyCount{Held: 1})

	update(t, r, func(tx *Tx) error {
		rows, err := tx.DataKeysOf(parent, []kms.ID{id(0), id(1), {99}})
		if err != nil || rows[0].Rev == 0 || rows[2].Rev != 0 {
			t.Fatalf("got %+v, %v", rows, err)
		}
		moved, revoked := rows[0], rows[1]
		moved.Version, revoked.State, revoked.Wrapped = 2, DataKeyRevoked, nil
		return errors.Join(tx.PutDataKey(rows[0], moved), tx.PutDataKey(rows[1], revoked))
	})
	want(parent, 1, 5000, DataKeyCount{Held: n - 2, Outside: 1})
	want(parent, 2, 5000, DataKeyCount{Held: 1})

	var versions []uint32
	for v := uint32(0); ; {
		next, err := r.NextDataKeyVersion(t.Context(), parent, Held, v)
		if err != nil {
			t.Fatal(err)
		}
		if next == 0 {
			break
		}
		versions, v = append(versions, next), next
	}
	if len(versions) != 3 || versions[0] != 1 || versions[1] != 2 || versions[2] != 258 {
		t.Errorf("got versions %d want 1, 2, 258", versions)
	}
	seen, after := 0, kms.ID{}
	for {
		page, next, err := r.DataKeysUnder(t.Context(), parent, Held, 1, after, 256)
		if err != nil {
			t.Fatal(err)
		}
		seen += len(page)
		if next.IsZero() {
			break
		}
		after = next
	}
	if seen != n-2 {
		t.Errorf("pages under version 1 hold %d data keys, want %d", seen, n-2)
	}
}
