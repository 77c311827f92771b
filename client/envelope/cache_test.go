package envelope_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/client/envelope"
)

// shared makes a cache whose server counts.
func shared(t testing.TB, limits envelope.Limits) (*vault, envelope.KeyholdKey) {
	t.Helper()
	v := newVault()
	c, err := envelope.NewCache(v, limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return v, envelope.KeyholdKey{Cache: c, Key: "orders"}
}

func sealFor(t testing.TB, key envelope.KeyholdKey, n int, c client.Context) []byte {
	t.Helper()
	return seal(t, text(n), envelope.Options{Recipients: []envelope.Recipient{key}, Context: c})
}

func TestFilesShareDataKeysOnlyIfAsked(t *testing.T) {
	v := newVault()
	for range 3 {
		sealFor(t, envelope.KeyholdKey{Client: v, Key: "orders"}, 10, nil)
	}
	if len(v.calls) != 3 {
		t.Errorf("without a cache: %d calls for 3 files", len(v.calls))
	}
	v, key := shared(t, envelope.Limits{})
	var all [][]byte
	for i := range 5 {
		all = append(all, sealFor(t, key, 10+i, client.Context{"a": "1"}))
	}
	if len(v.calls) != 1 || len(v.calls[0]) != 1 {
		t.Fatalf("with a cache: %v", v.calls)
	}
	sealFor(t, key, 10, client.Context{"a": "2"})
	if len(v.calls) != 2 {
		t.Errorf("another context: %d calls", len(v.calls))
	}
	for i, file := range all {
		if got, err := unseal(t, file, with(key)); err != nil || !bytes.Equal(got, text(10+i)) {
			t.Errorf("file %d: %v", i, err)
		}
		if got, err := unseal(t, file, with(envelope.KeyholdKey{Client: v})); err != nil || !bytes.Equal(got, text(10+i)) {
			t.Errorf("file %d without the cache: %v", i, err)
		}
		info, err := envelope.Inspect(bytes.NewReader(file))
		if err != nil || !info.Recipients[0].Shared {
			t.Errorf("file %d does not say that its data key is shared: %+v %v", i, info, err)
		}
	}
	if len(v.calls) != 2+1+5 {
		t.Errorf("decrypting 5 files with the cache and 5 without: %d calls, want 1 and 5", len(v.calls)-2)
	}
}

func TestACacheKeepsItsLimits(t *testing.T) {
	for name, c := range map[string]struct {
		limits envelope.Limits
		want   int // calls for 10 files of 1000 bytes
	}{
		"files": {envelope.Limits{Files: 3}, 4}, "bytes": {envelope.Limits{Bytes: 2000}, 5}, "one file": {envelope.Limits{Files: 1}, 10}, "default": {envelope.Limits{}, 1},
	} {
		v, key := shared(t, c.limits)
		for range 10 {
			sealFor(t, key, 1000, nil)
		}
		if len(v.calls) != c.want {
			t.Errorf("%s: got %d calls for 10 files, want %d", name, len(v.calls), c.want)
		}
	}
	v, key := shared(t, envelope.Limits{Keys: 2})
	for _, n := range []string{"1", "2", "1", "2", "3", "2", "3", "1"} {
		sealFor(t, key, 1, client.Context{"n": n})
	}
	if len(v.calls) != 4 {
		t.Errorf("2 keys kept: got %d calls, want 3 for the first of each and 1 for the one that was dropped", len(v.calls))
	}
	for _, bad := range []envelope.Limits{{Age: -1}, {Age: envelope.MaxAge + 1}, {Files: -1}, {Files: envelope.MaxFiles + 1}, {Bytes: -1}, {Keys: -1}, {Keys: envelope.MaxKeys + 1}} {
		if _, err := envelope.NewCache(v, bad); !errors.Is(err, envelope.ErrOptions) {
			t.Errorf("limits %+v are taken", bad)
		}
	}
	if _, err := envelope.NewCache(nil, envelope.Limits{}); !errors.Is(err, envelope.ErrOptions) {
		t.Error("a cache without a client is made")
	}
}

func TestADataKeyGetsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, key := shared(t, envelope.Limits{Age: time.Minute})
		file := sealFor(t, key, 1, nil)
		time.Sleep(59 * time.Second)
		sealFor(t, key, 1, nil)
		if len(v.calls) != 1 {
			t.Errorf("after 59 s: %d calls", len(v.calls))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		sealFor(t, key, 1, nil)
		if len(v.calls) != 2 {
			t.Errorf("after 60 s: %d calls", len(v.calls))
		}
		if _, err := unseal(t, file, with(key)); err != nil {
			t.Fatal(err)
		}
		v.dead[1] = true // the server would refuse from here on
		if _, err := unseal(t, file, with(key)); err != nil {
			t.Errorf("within the age: %v", err)
		}
		time.Sleep(time.Minute)
		if _, err := unseal(t, file, with(key)); err == nil {
			t.Error("after the age the server's refusal does not count")
		}
		key.Cache.Close()
	})
}

func TestAFailureIsNotKept(t *testing.T) {
	v, key := shared(t, envelope.Limits{})
	v.err = errors.New("not now")
	if _, err := envelope.Encrypt(t.Context(), io.Discard, bytes.NewReader(nil), envelope.Options{Recipients: []envelope.Recipient{key}}); !errors.Is(err, v.err) {
		t.Errorf("got %v", err)
	}
	v.err = nil
	file := sealFor(t, key, 1, nil)
	v.err = errors.New("not now")
	if _, err := unseal(t, file, with(key)); !errors.Is(err, v.err) {
		t.Errorf("got %v", err)
	}
	v.err = nil
	if _, err := unseal(t, file, with(key)); err != nil {
		t.Error(err)
	}
	key.Cache.Close()
	before := len(v.calls)
	sealFor(t, key, 1, nil)
	if len(v.calls) != before+1 {
		t.Error("a closed cache has kept a data key")
	}
}

func TestManyUseOneCache(t *testing.T) {
	_, key := shared(t, envelope.Limits{Files: 3, Keys: 2})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			c := client.Context{"n": fmt.Sprint(i % 4)}
			for range 5 {
				var b, out bytes.Buffer
				_, err := envelope.Encrypt(t.Context(), &b, bytes.NewReader(text(1000)), envelope.Options{Recipients: []envelope.Recipient{key}, Context: c})
				if err == nil {
					_, err = envelope.Decrypt(t.Context(), &out, &b, with(key))
				}
				if err != nil || !bytes.Equal(out.Bytes(), text(1000)) {
					t.Errorf("got %d bytes, %v", out.Len(), err)
				}
			}
		})
	}
	wg.Wait()
}
