package bare

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Every record that Append answered for is in the file, whole, in order, with the hash of the one before.
func TestRecordsAreChained(t *testing.T) {
	for _, mode := range []Mode{Unsynced, Durable} {
		t.Run(string(mode), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			l, err := Open(path, mode)
			if err != nil {
				t.Fatal(err)
			}
			const writers, each = 8, 25
			var all sync.WaitGroup
			for range writers {
				all.Go(func() {
					for range each {
						if err := l.Append("encrypt", `k"1`, "127.0.0.1:1", true); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			syncs, err := l.Close()
			if err != nil {
				t.Fatal(err)
			}
			if mode == Durable && (syncs == 0 || syncs > writers*each) || mode == Unsynced && syncs != 0 {
				t.Errorf("got %d syncs of %d records", syncs, writers*each)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lines := bytes.Split(bytes.TrimRight(b, "\x00\n"), []byte("\n"))
			if len(lines) != writers*each {
				t.Fatalf("got %d records, want %d", len(lines), writers*each)
			}
			last := make([]byte, sha256.Size)
			for i, line := range lines {
				var r struct {
					Sequence      int
					Key, Previous string
				}
				if err := json.Unmarshal(line, &r); err != nil || r.Sequence != i+1 || r.Key != `k"1` || r.Previous != hex.EncodeToString(last) {
					t.Fatalf("record %d is %s, %v", i+1, line, err)
				}
				sum := sha256.Sum256(line)
				last = sum[:]
			}
		})
	}
}

func TestUnknownModesAreRefused(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "log"), "often"); err == nil {
		t.Error("the mode often is accepted")
	}
}
