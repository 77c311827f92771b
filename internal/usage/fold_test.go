package usage_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/usage"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func key(n byte) kms.ID { return kms.ID{1, n} }

// did is a record of something done by a principal.
func did(who string, a kms.Action, at time.Time, keys ...audit.KeyUse) audit.Record {
	r := audit.Record{Time: at, Action: a, Outcome: audit.OK, Dialect: kms.DialectNative, Name: who, Home: kms.DefaultNamespace, Keys: keys, Bytes: 10}
	copy(r.Alias[:], who)
	return r
}

func of(k kms.ID, version uint32) audit.KeyUse { return audit.KeyUse{Key: k, Version: version} }

// folded is the row that records make of one version, written in portions of a number of records; 0: all at once.
func folded(rs []audit.Record, at usage.At, portion int) records.Usage {
	row := records.Usage{Key: at.Key, Version: at.Version}
	f := usage.New(usage.MaxRows)
	for i := range rs {
		for rest := f.Add(&rs[i], 0); rest > 0; rest = f.Add(&rs[i], rest) {
			f.Into(&row)
			f = usage.New(usage.MaxRows)
		}
		if f.Full() || portion > 0 && i%portion == portion-1 {
			f.Into(&row)
			f = usage.New(usage.MaxRows)
		}
	}
	f.Into(&row)
	return row
}

func TestWhatIsCounted(t *testing.T) {
	one, two := of(key(1), 1), of(key(2), 3)
	batch := did("a", kms.Decrypt, noon, one)
	batch.Items = []audit.Item{{Bytes: 5}, {Bytes: 6}, {Code: kms.CodeDecryptFailed, Bytes: 7}, {Bytes: 8}}
	refused := did("a", kms.Encrypt, noon, of(key(1), 0))
	refused.Outcome, refused.Code = audit.Refused, kms.CodeKeyPendingDestruction
	mixed := did("a", kms.ReEncrypt, noon, one, two)
	mixed.Items = []audit.Item{{Bytes: 5}, {Bytes: 6}, {Code: kms.CodeDecryptFailed, Bytes: 7}, {Bytes: 8}, {Code: kms.CodeBadRequest, Bytes: 9}}
	mixed.Versions = []audit.Run{{Items: 1, Version: 1}, {Items: 2, Version: 4}, {Items: 1, Version: 1}, {Items: 1}}
	campaign := did("a", kms.RewrapDataKeys, noon, one, of(key(1), 2))
	campaign.Items = []audit.Item{{Bytes: 5}, {Bytes: 7}}
	dry := did("a", kms.Encrypt, noon, one)
	dry.Outcome = audit.DryRun
	for _, c := range []struct {
		name string
		r    audit.Record
		at   usage.At
		want []records.Tally
	}{
		{"a single use", did("a", kms.Sign, noon, one), usage.At{Key: key(1), Version: 1}, []records.Tally{{Action: kms.Sign, N: 1, Bytes: 10}}},
		{"each item of a batch", batch, usage.At{Key: key(1), Version: 1}, []records.Tally{{Action: kms.Decrypt, N: 3, Bytes: 19}, {Action: kms.Decrypt, Code: kms.CodeDecryptFailed, N: 1, Bytes: 7}}},
		{"the items of a mixed batch, by version", mixed, usage.At{Key: key(1), Version: 1}, []records.Tally{{Action: kms.ReEncryptFrom, N: 2, Bytes: 13}}},
		{"those of another version", mixed, usage.At{Key: key(1), Version: 4}, []records.Tally{{Action: kms.ReEncryptFrom, N: 1, Bytes: 6}, {Action: kms.ReEncryptFrom, Code: kms.CodeDecryptFailed, N: 1, Bytes: 7}}},
		{"those that reached no version", mixed, usage.At{Key: key(1)}, []records.Tally{{Action: kms.ReEncryptFrom, Code: kms.CodeBadRequest, N: 1, Bytes: 9}}},
		{"all of them where they went", mixed, usage.At{Key: key(2), Version: 3}, []records.Tally{{Action: kms.ReEncryptTo, N: 3, Bytes: 19},
			{Action: kms.ReEncryptTo, Code: kms.CodeDecryptFailed, N: 1, Bytes: 7}, {Action: kms.ReEncryptTo, Code: kms.CodeBadRequest, N: 1, Bytes: 9}}},
		{"what a re-encryption opened", did("a", kms.ReEncrypt, noon, one, two), usage.At{Key: key(1), Version: 1}, []records.Tally{{Action: kms.ReEncryptFrom, N: 1, Bytes: 10}}},
		{"what a re-encryption made", did("a", kms.ReEncrypt, noon, one, two), usage.At{Key: key(2), Version: 3}, []records.Tally{{Action: kms.ReEncryptTo, N: 1, Bytes: 10}}},
		{"a refusal because of the key", refused, usage.At{Key: key(1)}, []records.Tally{{Action: kms.Encrypt, Code: kms.CodeKeyPendingDestruction, N: 1, Bytes: 10}}},
		{"a public half that left", did("a", kms.GetPublicKey, noon, one), usage.At{Key: key(1), Version: 1}, []records.Tally{{Action: kms.GetPublicKey, N: 1, Bytes: 10}}},
		{"a copy of the store", did("a", kms.ExportStore, noon), usage.At{}, []records.Tally{{Action: kms.ExportStore, N: 1, Bytes: 10}}},
		{"a key that wraps another", did("a", kms.ExportKey, noon, one, two), usage.At{Key: key(2), Version: 3}, []records.Tally{{Action: kms.WrapKey, N: 1, Bytes: 10}}},
		{"the other one", did("a", kms.ExportKey, noon, one, two), usage.At{Key: key(1), Version: 1}, []records.Tally{{Action: kms.ExportKey, N: 1, Bytes: 10}}},
		{"a key that unwraps what comes", did("a", kms.ImportKeyMaterial, noon, one, two), usage.At{Key: key(2), Version: 3}, []records.Tally{{Action: kms.UnwrapKey, N: 1, Bytes: 10}}},
		{"not what comes", did("a", kms.ImportKeyMaterial, noon, one, two), usage.At{Key: key(1), Version: 1}, nil},
		{"what a data key was taken over from", did("a", kms.RegisterDataKey, noon, of(key(1), 2), one), usage.At{Key: key(1), Version: 1}, []records.Tally{{Action: kms.ReEncryptFrom, N: 1, Bytes: 10}}},
		{"not a data key that was not", did("a", kms.RegisterDataKey, noon, of(key(1), 2), of(key(1), 0)), usage.At{Key: key(1)}, nil},
		{"what a campaign opened", campaign, usage.At{Key: key(1), Version: 1}, []records.Tally{{Action: kms.RewrapDataKeys, N: 2, Bytes: 12}}},
		{"not that it began", did("a", kms.RewrapDataKeys, noon, one), usage.At{Key: key(1), Version: 1}, nil},
		{"not a dry run", dry, usage.At{Key: key(1), Version: 1}, nil},
		{"not a change", did("a", kms.RotateKey, noon, one), usage.At{Key: key(1), Version: 1}, nil},
		{"not random bytes", did("a", kms.GenerateRandom, noon), usage.At{}, nil},
	} {
		got := folded([]audit.Record{c.r}, c.at, 0)
		for i := range c.want {
			c.want[i].Dialect, c.want[i].First, c.want[i].Last = kms.DialectNative, noon, noon
		}
		if !reflect.DeepEqual(got.Lines, c.want) {
			t.Errorf("%s: got %+v want %+v", c.name, got.Lines, c.want)
		}
	}
}

func TestTheSameRecordsInOtherPortionsGiveTheSameRow(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var rs []audit.Record
	for i := range 2000 {
		r := did(fmt.Sprint("user", random.IntN(records.MaxUsers)), []kms.Action{kms.Encrypt, kms.Decrypt}[random.IntN(2)], noon.Add(time.Duration(i)*time.Second), of(key(1), 1))
		if random.IntN(5) == 0 {
			r.Outcome, r.Code = audit.Failed, kms.CodeDecryptFailed
		}
		rs = append(rs, r)
	}
	want := folded(rs, usage.At{Key: key(1), Version: 1}, 0)
	for _, portion := range []int{1, 3, 100, 999} {
		if got := folded(rs, usage.At{Key: key(1), Version: 1}, portion); !reflect.DeepEqual(got, want) {
			t.Errorf("in portions of %d: got %+v want %+v", portion, got, want)
		}
	}
}

// TestTheSumsAreExactForAnyNumberOfPrincipals: a row has bounds, and what is counted is still all there; who uses the key stays in it, whoever is refused.
func TestTheSumsAreExactForAnyNumberOfPrincipals(t *testing.T) {
	var rs []audit.Record
	want := map[kms.Action]uint64{}
	for i := range 4000 {
		r := did(fmt.Sprint("stranger", i%500), kms.Decrypt, noon.Add(time.Duration(i)*time.Second), of(key(1), 1))
		r.Outcome, r.Code = audit.Denied, kms.CodeDenied+kms.Code(i%7) //nolint:gosec // G115: small
		if i%100 == 99 {
			r = did(fmt.Sprint("service", i%600), kms.Encrypt, r.Time, of(key(1), 1))
		}
		r.Dialect = kms.Dialect(i%3 + 1) //nolint:gosec // G115: small
		want[r.Action]++
		rs = append(rs, r)
	}
	row := folded(rs, usage.At{Key: key(1), Version: 1}, 70)
	got, services := map[kms.Action]uint64{}, map[string]bool{}
	named := 0
	for _, l := range row.Lines {
		got[l.Action] += l.N
		if l.User != records.Others {
			named++
			if l.Code == 0 {
				services[row.Users[l.User].Name] = true
			}
		} else if l.Code == 0 {
			t.Errorf("a use counts under nobody: %+v", l)
		}
	}
	if !reflect.DeepEqual(got, want) || len(services) != 6 || len(row.Users) != records.MaxUsers || named > records.MaxUserLines {
		t.Errorf("got %v, services %v, %d users, %d lines; want %v, 6 services, %d users", got, services, len(row.Users), named, want, records.MaxUsers)
	}
}

func TestAFullFoldSaysSo(t *testing.T) {
	f := usage.New(usage.MaxRows)
	n := 0
	for ; !f.Full(); n++ {
		r := did("a", kms.ReEncrypt, noon, of(kms.ID{1, byte(n)}, 1), of(kms.ID{2, byte(n)}, 1))
		f.Add(&r, 0)
	}
	if got := len(f.Rows()); got > usage.MaxRows || got < usage.MaxRows-2 {
		t.Errorf("got %d rows, want about %d", got, usage.MaxRows)
	}
	small := usage.New(1)
	r := did("a", kms.Encrypt, noon, of(key(1), 1))
	if small.Add(&r, 0); !small.Full() || small.Empty() {
		t.Error("the smallest fold takes more than one record")
	}
}

// TestARecordOfMoreVersionsThanAFoldHoldsIsCountedInParts: each of them once, whatever a transaction takes.
func TestARecordOfMoreVersionsThanAFoldHoldsIsCountedInParts(t *testing.T) {
	const versions = 1000
	r := did("a", kms.ReEncrypt, noon, of(key(1), 1), of(key(2), 3))
	for i := range versions {
		r.Items = append(r.Items, audit.Item{Bytes: 2})
		r.Versions = append(r.Versions, audit.Run{Items: 1, Version: uint32(i) + 1}) //nolint:gosec // G115: small
	}
	for _, rows := range []int{1, 2, 7, usage.MaxRows} {
		got := map[usage.At]uint64{}
		for rest, written := 0, 0; rest > 0 || written == 0; written++ {
			f := usage.New(rows)
			rest = f.Add(&r, rest)
			if n := len(f.Rows()); n > rows {
				t.Fatalf("got a fold of %d rows, want at most %d", n, rows)
			}
			for _, at := range f.Rows() {
				row := records.Usage{Key: at.Key, Version: at.Version}
				f.Into(&row)
				for _, l := range row.Lines {
					got[at] += l.N
				}
			}
		}
		for i := range uint32(versions) {
			if n := got[usage.At{Key: key(1), Version: i + 1}]; n != 1 {
				t.Fatalf("folds of %d rows: version %d counts %d times", rows, i+1, n)
			}
		}
		if n := got[usage.At{Key: key(2), Version: 3}]; n != versions || len(got) != versions+1 {
			t.Errorf("folds of %d rows: got %d in %d rows, want %d in %d", rows, n, len(got), versions, versions+1)
		}
	}
}

// FuzzFold: whatever is recorded, nothing is lost and a row keeps its bounds.
func FuzzFold(f *testing.F) {
	f.Add([]byte{5, 1, 0, 1, 0, 6, 2, 1, 1, 9, 7, 3, 0, 2, 200})
	f.Add([]byte{byte(kms.Decrypt), 255, 1, 7, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var rs []audit.Record
		want := uint64(0)
		for ; len(b) >= 5; b = b[5:] {
			r := did(fmt.Sprint(b[1]), kms.Action(b[0]), noon.Add(time.Duration(b[4])*time.Minute), of(key(1), uint32(b[2]&1)))
			r.Code, r.Dialect = kms.Code(binary.BigEndian.Uint16([]byte{0, b[3]})), kms.Dialect(b[4]&7)
			if r.Action != kms.ReEncrypt && usage.Counts(r.Action) && r.Action != kms.ExportStore && b[2]&1 == 1 {
				want++
			}
			if r.Action == kms.ReEncrypt && b[2]&1 == 1 {
				want++
			}
			rs = append(rs, r)
		}
		row := folded(rs, usage.At{Key: key(1), Version: 1}, 7)
		got, named := uint64(0), 0
		for _, l := range row.Lines {
			got += l.N
			if l.User != records.Others {
				named++
			}
			if l.Last.Before(l.First) || l.User >= len(row.Users) {
				t.Fatalf("got %+v of %d users", l, len(row.Users))
			}
		}
		if got != want || len(row.Users) > records.MaxUsers || named > records.MaxUserLines {
			t.Fatalf("got %d of %d users in %d lines, want %d", got, len(row.Users), named, want)
		}
	})
}

// FuzzMixedBatch: whatever versions the items of a batch used, and however large folds are, each item counts once, for its version.
func FuzzMixedBatch(f *testing.F) {
	f.Add([]byte{1, 1, 2, 2, 1, 0, 3, 1}, uint8(1), byte(kms.Decrypt))
	f.Add([]byte{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}, uint8(3), byte(kms.ReEncrypt))
	f.Add([]byte{200, 200, 200}, uint8(0), byte(kms.Verify))
	f.Fuzz(func(t *testing.T, b []byte, rows uint8, action byte) {
		r := did("a", kms.Action(action), noon, of(key(1), 1), of(key(2), 1))
		if len(b) == 0 || len(b) > audit.MaxItems || usage.Counts(r.Action) && !r.Action.OnKey() {
			return
		}
		want, bytes := map[uint32]uint64{}, map[uint32]uint64{}
		for _, v := range b {
			r.Items = append(r.Items, audit.Item{Code: kms.Code(v % 3), Bytes: uint32(v)})
			if n := len(r.Versions); n == 0 || r.Versions[n-1].Version != uint32(v) {
				r.Versions = append(r.Versions, audit.Run{Version: uint32(v)})
			}
			r.Versions[len(r.Versions)-1].Items++
			want[uint32(v)]++
			bytes[uint32(v)] += uint64(v)
		}
		if len(r.Versions) == 1 {
			r.Keys[0].Version, r.Versions = r.Versions[0].Version, nil
		}
		if _, _, err := audit.Encode(&r); err != nil {
			t.Fatalf("the batch cannot be recorded: %v", err)
		}
		ledger := map[usage.At]*records.Usage{}
		for rest, first := 0, true; first || rest > 0; first = false {
			fold := usage.New(int(rows))
			if next := fold.Add(&r, rest); next > 0 && next <= rest {
				t.Fatalf("a fold from part %d ends at part %d", rest, next)
			} else {
				rest = next
			}
			for _, at := range fold.Rows() {
				if ledger[at] == nil {
					ledger[at] = &records.Usage{Key: at.Key, Version: at.Version}
				}
				fold.Into(ledger[at])
			}
		}
		if r.Action != kms.ReEncrypt && !usage.Counts(r.Action) {
			return
		}
		for v, n := range want {
			var got, size uint64
			if row := ledger[usage.At{Key: key(1), Version: v}]; row != nil {
				for _, l := range row.Lines {
					got, size = got+l.N, size+l.Bytes
				}
			}
			if got != n || size != bytes[v] {
				t.Fatalf("version %d: got %d items of %d bytes, want %d of %d", v, got, size, n, bytes[v])
			}
		}
	})
}

// BenchmarkFold measures what a record costs: a few keys, a few principals.
func BenchmarkFold(b *testing.B) {
	var rs []audit.Record
	for i := range 1000 {
		rs = append(rs, did(fmt.Sprint("svc", i%7), []kms.Action{kms.Encrypt, kms.Decrypt, kms.Decrypt}[i%3], noon, of(key(byte(i%40)), 1)))
	}
	f := usage.New(usage.MaxRows)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		f.Add(&rs[i%len(rs)], 0)
		i++
	}
}
