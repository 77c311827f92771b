package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

func id(b byte) (i kms.ID) {
	for k := range i {
		i[k] = b + byte(k)*7
	}
	return i
}

// typical is the record of one use of a key.
func typical() Record {
	r := Record{
		ID: id(1), Time: time.Unix(1_800_000_000, 123_456_789).UTC(), Action: kms.Encrypt, Outcome: OK,
		Dialect: kms.DialectAWS, Method: kms.AuthToken, Namespace: "default",
		Keys: []KeyUse{{Key: id(2), Version: 3, Rev: 4711}}, Scheme: kms.SchemeAESGCM,
		RequestID: "6f1d2c3a-0b1c-4d5e-8f90-a1b2c3d4e5f6", PolicyRev: 812, Policies: []string{"use-orders"}, Bytes: 32,
		Name: "svc/orders", Home: "default", Credential: "t-7Hq2", Remote: netip.MustParseAddrPort("10.1.2.3:51234"),
	}
	copy(r.Alias[:], "0123456789abcdef")
	copy(r.Salt[:], "fedcba9876543210")
	return r
}

// everything has every field set to its limit.
func everything() Record {
	r := typical()
	r.Action, r.Outcome, r.Code = kms.ReEncrypt, Failed, kms.CodeDecryptFailed
	r.Keys = nil
	for i := range MaxKeys {
		r.Keys = append(r.Keys, KeyUse{Key: id(byte(i)), Version: 1<<32 - 1, Rev: 1<<64 - 1})
	}
	r.Resource = strings.Repeat("r", MaxResource)
	r.RequestID = strings.Repeat("q", MaxRequestID)
	r.Policies = nil
	for range MaxPolicies {
		r.Policies = append(r.Policies, strings.Repeat("p", MaxPolicyID))
	}
	r.Context = sha256.Sum256([]byte("c"))
	for range MaxItems {
		r.Items = append(r.Items, Item{Code: kms.CodeInternal, Bytes: 1<<32 - 1})
		r.Versions = append(r.Versions, Run{Items: 1, Version: 1<<32 - 1 - uint32(len(r.Versions)&1)}) //nolint:gosec // G115: a bit
	}
	r.Bytes, r.PolicyRev = 1<<64-1, 1<<64-1
	r.Reason, r.Detail = strings.Repeat("w", MaxReason), strings.Repeat("d", MaxDetail)
	r.PrevChange, r.Change = sha256.Sum256([]byte("p")), true
	r.Approval, r.Approvers = id(9), make([][16]byte, MaxApprovers)
	r.Prev = Link{Origin: strings.Repeat("o", MaxOrigin), Size: 1<<64 - 1, Root: sha256.Sum256([]byte("r"))}
	r.Name, r.Credential = strings.Repeat("n", MaxPerson), strings.Repeat("c", MaxCredential)
	r.Home = kms.Namespace(strings.Repeat("h", maxNamespace))
	r.Remote = netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone(strings.Repeat("z", MaxZone)), 65535)
	return r
}

// random draws a record within the limits, each field empty about half the time.
func random(rnd *rand.Rand) Record {
	coin := func() bool { return rnd.IntN(2) == 0 }
	text := func(most int) string {
		if coin() {
			return ""
		}
		b := make([]byte, 1+rnd.IntN(min(most, 40)))
		for i := range b {
			b[i] = byte(rnd.IntN(256))
		}
		return string(b)
	}
	hash := func() (h [32]byte) {
		if coin() {
			for i := range h {
				h[i] = byte(rnd.IntN(256))
			}
		}
		return h
	}
	r := Record{
		ID: id(byte(rnd.IntN(256))), Time: time.Unix(rnd.Int64N(1<<33), rnd.Int64N(1e9)).UTC(), Action: kms.Action(rnd.IntN(256)),
		Outcome: Outcome(rnd.IntN(256)), Dialect: kms.Dialect(rnd.IntN(256)), Method: kms.AuthMethod(rnd.IntN(256)),
		Scheme: kms.Scheme(rnd.IntN(256)), Namespace: kms.Namespace(text(maxNamespace)), Resource: text(MaxResource),
		RequestID: text(MaxRequestID), Bytes: rnd.Uint64() >> rnd.IntN(64), PolicyRev: kms.Rev(rnd.Uint64() >> rnd.IntN(64)),
		Context: hash(), Reason: text(MaxReason), Detail: text(MaxDetail), PrevChange: hash(), Change: coin(),
		Name: text(MaxPerson), Home: kms.Namespace(text(maxNamespace)), Credential: text(MaxCredential),
	}
	if coin() {
		r.Code = kms.Code(1 + rnd.IntN(65535))
	}
	for range rnd.IntN(3) {
		r.Keys = append(r.Keys, KeyUse{Key: id(byte(rnd.IntN(256))), Version: rnd.Uint32() >> rnd.IntN(32), Rev: kms.Rev(rnd.Uint64() >> rnd.IntN(64))})
	}
	for range rnd.IntN(3) {
		r.Policies = append(r.Policies, text(MaxPolicyID))
	}
	for range rnd.IntN(4) {
		r.Items = append(r.Items, Item{Code: kms.Code(rnd.IntN(65536)), Bytes: rnd.Uint32() >> rnd.IntN(32)})
	}
	if len(r.Keys) > 0 && len(r.Items) > 1 && coin() {
		r.Versions = []Run{{Items: 1, Version: rnd.Uint32() >> rnd.IntN(32)}}
		r.Versions = append(r.Versions, Run{Items: uint32(len(r.Items) - 1), Version: r.Versions[0].Version ^ 1}) //nolint:gosec // G115: small
	}
	if coin() {
		r.Approval = id(byte(rnd.IntN(256)))
		for range 1 + rnd.IntN(MaxApprovers) {
			r.Approvers = append(r.Approvers, [16]byte(id(byte(rnd.IntN(256)))))
		}
	}
	if coin() {
		r.Prev = Link{Origin: text(MaxOrigin), Size: rnd.Uint64(), Root: hash()}
	}
	if coin() {
		r.RequestID = id(byte(rnd.IntN(256))).String()
	}
	switch rnd.IntN(4) {
	case 0:
		r.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{1, 2, 3, byte(rnd.IntN(256))}), uint16(rnd.IntN(65536)))
	case 1:
		r.Remote = netip.MustParseAddrPort("[2001:db8::1]:443")
	case 2:
		r.Remote = netip.MustParseAddrPort("[::ffff:1.2.3.4]:443")
	}
	for i := range r.Salt {
		r.Salt[i], r.Alias[i] = byte(rnd.IntN(256)), byte(rnd.IntN(256))
	}
	return r
}

func TestARecordSurvivesItsEncoding(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	all := []Record{typical(), everything(), {Time: time.Unix(0, 0).UTC()}}
	for range 2000 {
		all = append(all, random(rnd))
	}
	for i, want := range all {
		body, annex, err := Encode(&want)
		if err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		got, err := Decode(body, annex)
		if err != nil {
			t.Fatalf("record %d: decode: %v", i, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("record %d: got %+v\nwant %+v", i, got, want)
		}
		leaf, err := got.LeafHash()
		if err != nil || leaf != sha256.Sum256(append([]byte{0}, body...)) {
			t.Fatalf("record %d: LeafHash %x, %v is not SHA-256(0x00 ‖ body)", i, leaf, err)
		}
		if got.Commit != sha256.Sum256(annex) || !bytes.Equal(annex[:saltSize], want.Salt[:]) {
			t.Fatalf("record %d: the commitment is not SHA-256(Salt ‖ annex)", i)
		}
	}
}

func TestATypicalRecordIsSmall(t *testing.T) {
	r := typical()
	body, annex, err := Encode(&r)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("body %d bytes, annex %d bytes", len(body), len(annex))
	if len(body) > 150 {
		t.Errorf("body of a typical use: got %d bytes, want at most 150", len(body))
	}
	if total := len(body) + len(annex); total > 200 {
		t.Errorf("typical use: got %d bytes, want at most 200", total)
	}
}

func TestErasureLeavesTheLeafHashAlone(t *testing.T) {
	r := typical()
	body, annex, err := Encode(&r)
	if err != nil {
		t.Fatal(err)
	}
	for _, blank := range [][]byte{make([]byte, len(annex)), nil} {
		got, err := Decode(body, blank)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Erased || got.Name != "" || got.Remote.IsValid() || got.Salt != [16]byte{} {
			t.Errorf("an erased annex still tells: %+v", got)
		}
		again, none, err := Encode(&got)
		if err != nil || !bytes.Equal(again, body) || len(none) != 0 {
			t.Errorf("re-encoding an erased record changed its body (%v)", err)
		}
	}
}

func TestAChangedAnnexIsDetected(t *testing.T) {
	r := typical()
	body, annex, err := Encode(&r)
	if err != nil {
		t.Fatal(err)
	}
	for i := range annex {
		bad := bytes.Clone(annex)
		bad[i] ^= 1
		if _, err := Decode(body, bad); !errors.Is(err, ErrAnnex) {
			t.Fatalf("byte %d of the annex changed: got %v, want ErrAnnex", i, err)
		}
	}
}

func TestARecordBeyondALimitIsRefused(t *testing.T) {
	over := map[string]func(*Record){
		"keys":        func(r *Record) { r.Keys = make([]KeyUse, MaxKeys+1) },
		"resource":    func(r *Record) { r.Resource += "r" },
		"request":     func(r *Record) { r.RequestID += "q" },
		"policies":    func(r *Record) { r.Policies = append(r.Policies, "p") },
		"policy id":   func(r *Record) { r.Policies[0] += "p" },
		"approvers":   func(r *Record) { r.Approvers = append(r.Approvers, [16]byte{}) },
		"no approval": func(r *Record) { r.Approval = kms.ID{} },
		"no approver": func(r *Record) { r.Approvers = nil },
		"items":       func(r *Record) { r.Items = append(r.Items, Item{}) },
		"no version":  func(r *Record) { r.Versions = r.Versions[1:] },
		"one run":     func(r *Record) { r.Versions = []Run{{Items: MaxItems, Version: 7}} },
		"empty run":   func(r *Record) { r.Versions = append(r.Versions, Run{}) },
		"alike":       func(r *Record) { r.Versions[1].Version = r.Versions[0].Version },
		"no key":      func(r *Record) { r.Keys = nil },
		"reason":      func(r *Record) { r.Reason += "w" },
		"detail":      func(r *Record) { r.Detail += "d" },
		"origin":      func(r *Record) { r.Prev.Origin += "o" },
		"name":        func(r *Record) { r.Name += "n" },
		"home":        func(r *Record) { r.Home += "h" },
		"credential":  func(r *Record) { r.Credential += "c" },
		"namespace":   func(r *Record) { r.Namespace = kms.Namespace(strings.Repeat("n", maxNamespace+1)) },
		"zone": func(r *Record) {
			r.Remote = netip.AddrPortFrom(r.Remote.Addr().WithZone(strings.Repeat("z", MaxZone+1)), 1)
		},
		"time": func(r *Record) { r.Time = time.Time{} },
	}
	for name, change := range over {
		r := everything()
		change(&r)
		if _, _, err := Encode(&r); kms.AsError(err).Kind() != kms.KindInvalid {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	large := everything()
	large.Items, large.Versions, large.Policies = large.Items[:3], large.Versions[:3], large.Policies[:1]
	for _, r := range []Record{typical(), large} {
		body, annex, _ := Encode(&r)
		f.Add(body, annex)
		f.Add(body, make([]byte, len(annex)))
	}
	f.Fuzz(func(t *testing.T, body, annex []byte) {
		r, err := DecodeBody(body)
		if err != nil {
			return
		}
		r.Erased = true
		again, _, err := Encode(&r)
		if err != nil || !bytes.Equal(again, body) {
			t.Fatalf("body is not canonical: %x became %x (%v)", body, again, err)
		}
		if len(annex) <= saltSize {
			return
		}
		var a Record
		if decodeAnnex(&a, annex) == nil {
			a.Time = r.Time
			if _, got, err := Encode(&a); err != nil || !bytes.Equal(got, annex) {
				t.Fatalf("annex is not canonical: %x became %x (%v)", annex, got, err)
			}
		}
		_, _ = Decode(body, annex)
	})
}

func FuzzRecord(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		want := random(rand.New(rand.NewPCG(a, b)))
		body, annex, err := Encode(&want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(body, annex)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
		}
	})
}

func TestAPositionHasOneForm(t *testing.T) {
	for _, p := range []Position{{"n1", 12, 3456}, {"a-b-1", 1, 0}, {"7", 9_999_999, 1<<64 - 1}} {
		got, err := ParsePosition(p.String())
		if err != nil || got != p {
			t.Errorf("%v: got %v, %v", p, got, err)
		}
	}
	if got, want := (Position{"n1", 12, 3456}).String(), "n1-000012-3456"; got != want {
		t.Errorf("got %s want %s", got, want)
	}
	for _, s := range []string{"", "n1", "n1-12-3", "n1-000012-03", "n1-0000012-3", "n1-000000-1", "-000012-3", "N1-000012-3", "n1-000012-", "n1-000012-+3", "n1-000012-3 "} {
		if p, err := ParsePosition(s); err == nil {
			t.Errorf("%q was read as %v", s, p)
		}
	}
}

func FuzzPosition(f *testing.F) {
	f.Add("n1-000012-3456")
	f.Add("a-b-1234567-0")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePosition(s)
		if err == nil && p.String() != s {
			t.Fatalf("%q became %q", s, p.String())
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	r := typical()
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = appendFrame(buf[:0], &r); err != nil {
			b.Fatal(err)
		}
	}
}
