package audit

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit/disk/disktest"
	"github.com/keyhold/keyhold/internal/kms"
)

// TestRetentionWaits drops nothing that is young, unsigned, wanted by somebody, or in a log whose keys are put away.
func TestRetentionWaits(t *testing.T) {
	cfg := unkeptConfig(t)
	cfg.CompressAfter = -1
	k, _ := testKeys(t)
	l, all := corpus(t, cfg, k, 1, 60)
	shut(t, l)
	end := all[len(all)-1].Time
	var asked []Position
	for name, tc := range map[string]struct {
		change func(c *Config)
		sealed bool
		drops  bool
	}{
		"nothing is configured": {change: func(*Config) {}},
		"the records are young": {change: func(c *Config) { c.Retention = 24 * time.Hour }},
		"a sink has not come so far": {change: func(c *Config) {
			c.Retention, c.MayDrop = time.Minute, func(p Position) bool { asked = append(asked, p); return false }
		}},
		"the clock jumped": {change: func(c *Config) {
			c.Retention, c.Trusted = time.Minute, func() (time.Time, bool) { return end.Add(time.Hour), false }
		}},
		"the clock is behind": {change: func(c *Config) {
			c.Retention, c.Trusted = time.Minute, func() (time.Time, bool) { return all[0].Time, true }
		}},
		"the server is sealed": {change: func(c *Config) { c.Retention = time.Minute }, sealed: true},
		"everything is ready":  {change: func(c *Config) { c.Retention = time.Minute }, drops: true},
	} {
		t.Run(name, func(t *testing.T) {
			now := cfg
			now.Dir = t.TempDir()
			if err := os.CopyFS(now.Dir, os.DirFS(cfg.Dir)); err != nil {
				t.Fatal(err)
			}
			now.Now = func() time.Time { return end.Add(time.Hour) }
			tc.change(&now)
			l := open(t, now)
			if !tc.sealed {
				if err := l.Keyed(k); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Keep(); err != nil {
				t.Fatal(err)
			}
			gone, err := ReadRetired(folders(t, now)[0])
			if err != nil || (gone != nil) != tc.drops {
				t.Fatalf("got %+v, %v; want dropped %v", gone, err, tc.drops)
			}
			if tc.drops {
				r, err := l.Read(gone.Record)
				if err != nil || r.Action != kms.RetireAudit || r.Prev != (Link{gone.Origin, gone.Next, gone.Root}) || gone.Next != uint64(len(all)) {
					t.Errorf("the record that tells of it: %+v, %v", r, err)
				}
			}
		})
	}
	if len(asked) != 1 || asked[0].Epoch != 1 {
		t.Errorf("asked %v", asked)
	}
}

// TestRetentionSurvivesEveryFault lets the disk fail at each call, with and without its effect. Each time the log starts again, proves what it has, and the
// next round goes on: what is gone is told, and what is not told is there.
func TestRetentionSurvivesEveryFault(t *testing.T) {
	cfg := unkeptConfig(t)
	cfg.CompressAfter = -1
	k, _ := testKeys(t)
	l, all := corpus(t, cfg, k, 1, 25)
	shut(t, l)
	end := all[len(all)-1].Time
	for i, effect := range []bool{false, true} {
		for at := i; ; at += stride() {
			var fs disktest.FS
			now := cfg
			now.Dir, now.FS, now.Retention = t.TempDir(), &fs, time.Minute
			now.Now = func() time.Time { return end.Add(time.Hour) }
			fs.Set(skipSyncs)
			if err := os.CopyFS(now.Dir, os.DirFS(cfg.Dir)); err != nil {
				t.Fatal(err)
			}
			l := opened(t, now, k)
			calls, hit := 0, false
			fs.Set(func(op disktest.Op, path string) *disktest.Fault {
				if !strings.Contains(path, epochFolder(1)) {
					return skipSyncs(op, path)
				}
				if calls++; calls-1 < at {
					return skipSyncs(op, path)
				}
				hit = true
				return &disktest.Fault{Err: errors.New("the disk is broken"), Persist: effect && calls-1 == at}
			})
			err := l.Keep()
			fs.Set(skipSyncs)
			shut(t, l)
			if !hit {
				if err != nil {
					t.Fatalf("call %d: %v", at, err)
				}
				break
			}
			if err == nil {
				t.Fatalf("call %d failed, and nobody was told", at)
			}
			l = opened(t, now, k)
			got := followAll(t, l)
			gone, err := ReadRetired(folders(t, now)[0])
			if err != nil {
				t.Fatal(err)
			}
			first := uint64(0)
			if gone != nil {
				first = gone.Next
				if r, err := l.Read(gone.Record); err != nil || r.Action != kms.RetireAudit {
					t.Fatalf("call %d: the record that tells of it: %v, %v", at, r.Action, err)
				}
			}
			left := 0
			for _, e := range got {
				if e.Epoch != 1 {
					continue
				}
				if left++; e.Seq < first {
					t.Fatalf("call %d: record %d is told to be gone, and is there", at, e.Seq)
				}
				if e.Seq%50 != 0 {
					continue
				}
				if _, err := l.Prove(t.Context(), e.Position); err != nil {
					t.Fatalf("call %d: prove %v: %v", at, e.Position, err)
				}
			}
			if want := len(all) - int(first); left != want {
				t.Fatalf("call %d: %d records are left, want %d", at, left, want)
			}
			if err := l.Keep(); err != nil {
				t.Fatalf("call %d: the next round: %v", at, err)
			}
			if gone, err = ReadRetired(folders(t, now)[0]); err != nil || gone.Next != uint64(len(all)) {
				t.Fatalf("call %d: after the next round: %+v, %v", at, gone, err)
			}
			if _, err := l.Read(Position{"n1", 1, 1}); kms.CodeOf(err) != kms.CodeNotFound {
				t.Fatalf("call %d: got %v", at, err)
			}
			shut(t, l)
		}
	}
}
