package audit

import (
	"bytes"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// unkeptConfig is for tests that run the keeper's rounds by hand, on a disk that promises nothing.
func unkeptConfig(t testing.TB) Config {
	cfg := testConfig(t)
	cfg.FS, cfg.unkept = unsynced{}, true
	return cfg
}

// varied is a record out of a world of a few callers, keys, actions and outcomes, some of them rare.
func varied(rnd *mrand.Rand, i int) *Record {
	r := typical()
	pick := func(n int) byte { return byte(min(rnd.IntN(n), rnd.IntN(n))) }
	r.Time = r.Time.Add(time.Duration(i) * time.Second).Add(time.Duration(rnd.IntN(2000)) * time.Millisecond)
	r.Action = []kms.Action{kms.Encrypt, kms.Decrypt, kms.Sign, kms.CreateKey, kms.PutPolicy}[pick(5)]
	r.Keys = nil
	for range rnd.IntN(3) {
		r.Keys = append(r.Keys, KeyUse{Key: id(10 + pick(40)), Version: 1, Rev: 1})
	}
	who := pick(20)
	r.Alias, r.Name = aliasOf(who), fmt.Sprintf("svc/%d", who)
	r.Namespace = kms.Namespace([]string{"default", "other", "third"}[pick(3)])
	r.Dialect = []kms.Dialect{kms.DialectNative, kms.DialectAWS}[pick(2)]
	if rnd.IntN(9) == 0 {
		r.Outcome, r.Code = []Outcome{Denied, Refused, Failed}[pick(3)], []kms.Code{kms.CodeDenied, kms.CodeNotFound}[pick(2)]
	}
	if r.Action == kms.PutPolicy {
		r.Resource, r.Change = fmt.Sprintf("policy-%d", pick(5)), rnd.IntN(2) == 0
	}
	if r.RequestID = fmt.Sprintf("r-%d", i/2); rnd.IntN(2) == 0 {
		rnd := mrand.New(mrand.NewPCG(uint64(i), 1))
		var u kms.ID
		for k := range u {
			u[k] = byte(rnd.Uint32())
		}
		r.RequestID = u.String()
	}
	return &r
}

func aliasOf(who byte) (a [16]byte) {
	h := LeafHash([]byte{who})
	return [16]byte(h[:])
}

// corpus writes a log of varied records over a few boots and leaves the last one open.
func corpus(t testing.TB, cfg Config, k Keys, boots, groups int) (*Log, []Entry) {
	t.Helper()
	rnd := mrand.New(mrand.NewPCG(7, uint64(boots*groups)))
	now := typical().Time
	cfg.Now = func() time.Time { return now }
	var l *Log
	n := 0
	for boot := range boots {
		l = opened(t, cfg, k)
		for range groups {
			var rs []*Record
			for range 1 + rnd.IntN(30) {
				rs = append(rs, varied(rnd, n))
				now = rs[len(rs)-1].Time
				n++
			}
			if _, err := l.AppendAll(rs); err != nil {
				t.Fatal(err)
			}
		}
		if boot+1 < boots {
			shut(t, l)
		}
	}
	return l, followAll(t, l)
}

func followAll(t testing.TB, l *Log) (all []Entry) {
	t.Helper()
	var after Position
	for {
		page, more, err := l.Follow(t.Context(), after, MaxPage)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page...)
		if !more {
			return all
		}
		after = all[len(all)-1].Position
	}
}

// question is a filter that combines a few properties of some record, or of several.
func question(rnd *mrand.Rand, all []Entry) (f Filter) {
	of := func() *Record { return &all[rnd.IntN(len(all))].Record }
	r := of()
	for range 1 + rnd.IntN(4) {
		if rnd.IntN(5) == 0 {
			r = of() // then perhaps nothing fits
		}
		switch rnd.IntN(12) {
		case 0, 1:
			if len(r.Keys) > 0 {
				f.Key = r.Keys[rnd.IntN(len(r.Keys))].Key
			}
		case 2:
			f.Aliases = [][16]byte{r.Alias}
		case 3:
			f.Aliases, f.Name = [][16]byte{{99}, r.Alias}, r.Name
		case 4:
			f.Action = r.Action
		case 5:
			f.Outcome = r.Outcome
		case 6:
			f.Code = r.Code
		case 7:
			f.Since = r.Time
		case 8:
			f.Until = r.Time.Add(time.Minute)
		case 9:
			f.RequestID = r.RequestID
		case 10:
			f.Resource, f.Changes = r.Resource, rnd.IntN(2) == 0
		case 11:
			f.Namespace, f.Dialect = r.Namespace, r.Dialect
		}
	}
	return f
}

// ask pages through a listing.
func ask(t testing.TB, l *Log, f Filter, limit int) (got []Position) {
	t.Helper()
	cursor := ""
	for {
		page, err := l.List(t.Context(), f, cursor, limit)
		if err != nil {
			t.Fatalf("%+v: %v", f, err)
		}
		for _, e := range page.Entries {
			got = append(got, e.Position)
		}
		if cursor = page.Next; cursor == "" {
			return got
		}
	}
}

// answers compares listings with what the records themselves say.
func answers(t *testing.T, l *Log, all []Entry, questions int, seed uint64) {
	t.Helper()
	rnd := mrand.New(mrand.NewPCG(seed, 3))
	some := 0
	for range questions {
		f := question(rnd, all)
		var want []Position
		for _, e := range slices.Backward(all) {
			if f.keeps(&e.Record) {
				want = append(want, e.Position)
			}
		}
		got := ask(t, l, f, []int{60, 200, MaxPage}[rnd.IntN(3)])
		if !slices.Equal(got, want) {
			t.Fatalf("%+v: got %d records want %d", f, len(got), len(want))
		}
		if len(want) > 0 {
			some++
		}
	}
	if some < questions/4 {
		t.Errorf("only %d of %d questions had an answer", some, questions)
	}
}

func indexes(t testing.TB, cfg Config) (paths []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(cfg.Dir, cfg.Node, "*", indexFolder, "*"+indexEnd))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func keepNow(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Keep(); err != nil {
		t.Fatal(err)
	}
}

// TestSearchFindsWhatIsThere asks a log without indexes, with all, with some, with damaged and with foreign ones.
func TestSearchFindsWhatIsThere(t *testing.T) {
	cfg := unkeptConfig(t)
	k, _ := testKeys(t)
	l, all := corpus(t, cfg, k, 3, 150)
	questions := 20
	if os.Getenv("KEYHOLD_LONG") == "1" {
		questions = 3000
	}
	answers(t, l, all, questions, 1)

	keepNow(t, l)
	made := indexes(t, cfg)
	if len(made) < 10 {
		t.Fatalf("%d indexes", len(made))
	}
	answers(t, l, all, questions, 2)

	shut(t, l)
	rnd := mrand.New(mrand.NewPCG(5, 6))
	for i, path := range made {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		switch i % 5 {
		case 0:
			err = os.Remove(path)
		case 1:
			data[rnd.IntN(len(data))] ^= 4
			err = os.WriteFile(path, data, 0o600)
		case 2:
			err = os.WriteFile(path, data[:rnd.IntN(len(data))], 0o600)
		case 3:
			other, _ := os.ReadFile(made[(i+1)%len(made)])
			err = os.WriteFile(path, other, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	cfg.Now = func() time.Time { return all[len(all)-1].Time }
	l = open(t, cfg)
	all = followAll(t, l)
	answers(t, l, all, questions, 3)
	keepNow(t, l)
	answers(t, l, all, questions, 4)
	if again := indexes(t, cfg); len(again) < len(made) {
		t.Errorf("got %d indexes after the repair want %d", len(again), len(made))
	}
}

// TestAnIndexHoldsNoName looks for everything that erasure must reach in the indexes.
func TestAnIndexHoldsNoName(t *testing.T) {
	cfg := unkeptConfig(t)
	k, _ := testKeys(t)
	l, _ := corpus(t, cfg, k, 1, 200)
	keepNow(t, l)
	for _, path := range indexes(t, cfg) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		r := typical()
		alias := aliasOf(1)
		for _, personal := range [][]byte{[]byte("svc/"), []byte(r.Credential), r.Remote.Addr().AsSlice(), r.Salt[:], alias[:]} {
			if bytes.Contains(data, personal) && len(personal) > 4 {
				t.Errorf("%s holds %q", path, personal)
			}
		}
	}
}
