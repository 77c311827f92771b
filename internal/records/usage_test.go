package records

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/store"
)

// fullUsage is a row as large as one can be.
func fullUsage() Usage {
	r := Usage{Key: kms.ID{1, 2, 3}, Version: 7}
	at := time.Unix(1<<33, 999_999_999).UTC()
	for i := range MaxUsers {
		r.Users = append(r.Users, User{Alias: [16]byte{byte(i), 1}, Name: strings.Repeat("n", 255), Home: kms.Namespace(strings.Repeat("h", 63))})
	}
	line := Tally{Action: 200, Dialect: 7, Code: 0xffff, N: 1 << 63, Bytes: 1 << 63, First: at, Last: at}
	for i := range MaxUserLines {
		line.User = i % MaxUsers
		r.Lines = append(r.Lines, line)
	}
	line.User = Others
	for range 3 * kms.ActionCount {
		r.Lines = append(r.Lines, line)
	}
	return r
}

func TestTheLargestRowOfTheLedgerFitsTheStore(t *testing.T) {
	r := fullUsage()
	b, err := encode(r)
	if err != nil || len(b) > store.MaxValue-1024 {
		t.Fatalf("got %d bytes, %v, want less than %d", len(b), err, store.MaxValue)
	}
	var got Usage
	if err := parse(usagePath(r.Key, r.Version), b, &got); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("read back: %v", err)
	}
}

// TestARowOfTheLedgerKeepsItsForm: what was stored stays readable.
func TestARowOfTheLedgerKeepsItsForm(t *testing.T) {
	at := time.Unix(1_700_000_000, 5).UTC()
	r := Usage{Users: []User{{Alias: [16]byte{9}, Name: "n", Home: "h"}},
		Lines: []Tally{{User: 0, Action: 6, Dialect: 1, N: 3, Bytes: 4, First: at, Last: at}, {User: Others, Action: 5, Code: 1502, N: 1, First: at, Last: at}}}
	roundTrip(t, r, nil)
	for name, b := range map[string][]byte{
		"a user that is not there": {compactV1, 0x22, 2, 0x08, 2},
		"65 users":                 append([]byte{compactV1}, []byte(strings.Repeat("\x1a\x00", 65))...),
		"an action of 256":         {compactV1, 0x22, 3, 0x10, 0x80, 0x02},
	} {
		var got Usage
		if err := parse(nil, b, &got); err == nil {
			t.Errorf("%s: got %+v, want an error", name, got)
		}
	}
}
