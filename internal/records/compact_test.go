package records

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/seal/sealtest"
	"github.com/keyhold/keyhold/internal/store"
	"github.com/keyhold/keyhold/internal/store/mem"
)

// full gives every stored field of a struct a value of its own.
func full(v reflect.Value, n *int64) {
	*n++
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(1_700_000_000+*n, *n).UTC()))
	case v.Type() == reflect.TypeFor[netip.Prefix]():
		v.Set(reflect.ValueOf(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(*n)}), 32)))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("json") != "-" {
				full(v.Field(i), n)
			}
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		full(v.Index(0), n)
		full(v.Index(1), n)
	case v.Kind() == reflect.Array:
		for i := range v.Len() {
			full(v.Index(i), n)
		}
	case v.Kind() == reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"z": "1", "a": "2"}))
	case v.Kind() == reflect.String:
		v.SetString(strings.Repeat("s", int(*n%5)+1))
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(*n%100 + 1)
	case v.CanUint():
		v.SetUint(uint64(*n%100 + 1))
	}
}

func fullOf[T any]() (v T) {
	n := int64(0)
	full(reflect.ValueOf(&v).Elem(), &n)
	return v
}

// roundTrip encodes, reads back, and reads the JSON of an older version.
func roundTrip[T any](t *testing.T, v T, path []byte) {
	t.Helper()
	b, err := encode(v)
	if err != nil || b[0] != compactV1 {
		t.Fatalf("%T: got %x, %v", v, b, err)
	}
	var got, old T
	if err := parse(path, b, &got); err != nil || !reflect.DeepEqual(got, v) {
		t.Errorf("%T: got %+v, %v want %+v", v, got, err, v)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := parse(path, text, &old); err != nil || !reflect.DeepEqual(old, v) {
		t.Errorf("%T as JSON: got %+v, %v want %+v", v, old, err, v)
	}
	if len(b) > len(text)*3/4 {
		t.Errorf("%T has %d bytes, and %d as JSON", v, len(b), len(text))
	}
}

// TestNoFieldIsForgotten: whatever is added to a record is stored.
func TestNoFieldIsForgotten(t *testing.T) {
	k, v, o := fullOf[Key](), fullOf[Version](), fullOf[Outbox]()
	roundTrip(t, k, keyPath(k.Namespace, k.ID))
	roundTrip(t, v, versionPath(v.Key, v.Number))
	roundTrip(t, fullOf[Name](), nil)
	roundTrip(t, fullOf[Shred](), nil)
	roundTrip(t, o, outboxPath(o.ID))
	d := fullOf[DataKey]()
	roundTrip(t, d, dataKeyPath(d.Parent, d.ID))
	roundTrip(t, fullOf[Receipt](), nil)
	roundTrip(t, fullOf[Sealed](), nil)
}

// TestAFieldKeepsItsNumber: records that were stored stay readable.
func TestAFieldKeepsItsNumber(t *testing.T) {
	for _, c := range []struct {
		v    compact
		want string
	}{
		{fullOf[Key](), "011a02737322047373737322057373737373281a301b381d401e481f50205a0373737362060a016112013262060a017a1201316a06c4c49fd50c22" +
			"7206c6c49fd50c237a06c8c49fd50c248001268a0106ccc49fd50c269001289a01205c5d5e5f60616263640102030405060708090a0b0c0d0e0f10" +
			"11121314151617a0011ca80101b00101b80101c2010473737373ca01057373737373d2010e082f10301a047373737320322833da0106e6c49fd50c" +
			"33e20106e8c49fd50c34e80136f20106ecc49fd50c36fa01047373737382022b0a027373103f1840220680c59fd50c402a017332060a0161120132" +
			"32060a017a1201313a0686c59fd50c438202310a05737373737310471848220690c59fd50c482a047373737332060a016112013232060a017a1201" +
			"313a0696c59fd50c4b88024d90024e98024fa2020c080110011801200128013001a80257b00258b80259c20206f2c49fd50c39c8025ae00301e803" +
			"39"},
		{fullOf[Version](), "01181620172818320573737373733a06b2c49fd50c194211081d1206bac49fd50c1d1a017322027373421108221206c4c49fd50c221a0173220273" +
			"734a02272852022a2b5a023b3c6206d6c49fd50c2b6a06d8c49fd50c2c7206dac49fd50c2d7a06dcc49fd50c2e8001018a01023e3f9001019a0105" +
			"7373737373a201023536a201023839"},
		{fullOf[Name](), "010a100405060708090a0b0c0d0e0f10111213120573737373731801"},
		{fullOf[Shred](), "010a020405120173"},
		{fullOf[Outbox](), "01120215161a0218192206b2c49fd50c19281b301c"},
		{fullOf[DataKey](), "011a027373202628273028382942022b2c4a202e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d52060a016112013252" +
			"060a017a1201315a02505162060a016112013262060a017a1201316a06a4c59fd50c527204737373737855820106aac59fd50c558a0106acc59fd50c" +
			"569201037373739a01205a5b5c5d5e5f60616263640102030405060708090a0b0c0d0e0f101112131415"},
	} {
		if b, err := encode(c.v); err != nil || hex.EncodeToString(b) != c.want {
			t.Errorf("%T: got %x, %v want %s", c.v, b, err, c.want)
		}
	}
	for _, v := range []compact{fullOf[Key](), fullOf[Version](), fullOf[Name](), fullOf[Shred](), fullOf[Outbox](), fullOf[DataKey](), fullOf[Receipt](), fullOf[Sealed]()} {
		b, _ := encode(v)
		var got []protowire.Number
		if err := eachField(b[1:], func(n protowire.Number, _ value) { got = append(got, n) }); err != nil {
			t.Fatal(err)
		}
		if !slices.IsSorted(got) {
			t.Errorf("%T: the fields are in the order %d", v, got)
		}
	}
}

// TestAnUnknownFieldIsPassedOver: an older server reads what a newer one wrote.
func TestAnUnknownFieldIsPassedOver(t *testing.T) {
	b, _ := encode(Name{Name: "a"})
	b = protowire.AppendBytes(protowire.AppendTag(b, 1000, protowire.BytesType), []byte("new"))
	var got Name
	if err := parse(nil, b, &got); err != nil || got.Name != "a" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestMalformedRecordsAreRefused(t *testing.T) {
	for name, b := range map[string][]byte{
		"a cut field":        {compactV1, 0x12, 5, 'a'},
		"a number for text":  {compactV1, 0x10, 5},
		"text for a flag":    {compactV1, 0x1a, 1, 'x'},
		"an id of 2 bytes":   {compactV1, 0x0a, 2, 1, 1},
		"a flag of 2":        {compactV1, 0x18, 2},
		"a fixed field":      {compactV1, 0x0d, 1, 2, 3, 4},
		"an endless varint":  append([]byte{compactV1, 0x18}, bytes.Repeat([]byte{0xff}, 11)...),
		"an unknown version": {0x02, 0x18, 1},
		"nothing":            {},
	} {
		var n Name
		if err := parse(nil, b, &n); err == nil {
			t.Errorf("%s: got %+v", name, n)
		}
	}
}

// TestOlderRecordsAreRead: a store that was written as JSON is read, and each record is rewritten when it changes.
func TestOlderRecordsAreRead(t *testing.T) {
	f := sealtest.New(t)
	st := mem.Open(mem.Config{})
	defer st.Close()
	r := New(st, f.Keychain, f.Cluster)
	k := fullOf[Key]()
	k.ID, k.Namespace = kms.ID{1, 2, 3}, "default"
	text, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	path := keyPath(k.Namespace, k.ID)
	sealed, err := f.Keychain.SealRecord(nil, 7, text, r.aad(path))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Commit(t.Context(), store.Txn{Then: []store.Write{{Key: path, Value: sealed}}}); err != nil {
		t.Fatal(err)
	}
	got, err := r.Key(t.Context(), k.Namespace, k.ID)
	if got.Rev = 0; err != nil || !reflect.DeepEqual(got, k) {
		t.Fatalf("got %+v, %v want %+v", got, err, k)
	}
	if _, _, err := r.Update(t.Context(), func(tx *Tx) error {
		k, _, err := tx.Key(k.Namespace, k.ID)
		k.Description = "new"
		if err == nil {
			err = tx.PutKey(k)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	w, err := r.get(t.Context(), path)
	if err != nil || w.plain[0] != compactV1 || w.logical != 8 {
		t.Errorf("after a change: %q, logical %d, %v", w.plain, w.logical, err)
	}
	if got, err := r.Key(t.Context(), k.Namespace, k.ID); err != nil || got.Description != "new" || got.Name != k.Name {
		t.Errorf("got %+v, %v", got, err)
	}
}

// FuzzParse: no bytes make a reader fail but by its error, and what it accepts has one form.
func FuzzParse(f *testing.F) {
	for _, v := range []any{fullOf[Key](), fullOf[Version](), fullOf[Name](), fullOf[Shred](), fullOf[Outbox](), fullOf[DataKey](), fullOf[Token](), fullUsage()} {
		b, err := encode(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again[Key](t, b)
		again[Version](t, b)
		again[Name](t, b)
		again[Shred](t, b)
		again[Outbox](t, b)
		again[Archived](t, b)
		again[Sealed](t, b)
		again[DataKey](t, b)
		again[Usage](t, b)
	})
}

func again[T any](t *testing.T, b []byte) {
	var v, w T
	if parse(nil, b, &v) != nil || len(b) > 0 && b[0] != compactV1 {
		return
	}
	first, err := encode(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := parse(nil, first, &w); err != nil {
		t.Fatalf("%T: what was written is not read: %v", v, err)
	}
	if second, _ := encode(w); !bytes.Equal(first, second) {
		t.Fatalf("%T: got %x want %x", v, second, first)
	}
}
